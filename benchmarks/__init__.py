"""Measure the transports from outside the server, only through its public HTTP interface."""
