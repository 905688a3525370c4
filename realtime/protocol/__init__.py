"""Wire formats: bytes in, values out.  No sockets."""
