"""Tests through real proxies, with the configurations that we print or that the docs have."""
