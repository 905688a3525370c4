"""Brokers: in memory for one process, and over Redis for many."""
