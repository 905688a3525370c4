"""One short file per transport, and `base`, which holds what is the same for all."""
