"""Tests through a real nginx, with the configuration that `realtime nginx` prints."""
