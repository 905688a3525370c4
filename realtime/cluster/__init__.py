"""Several server processes on one machine, and nginx or haproxy in front of them."""
