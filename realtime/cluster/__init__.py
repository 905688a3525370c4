"""Several server processes on one machine, and nginx in front of them."""
