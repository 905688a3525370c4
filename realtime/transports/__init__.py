"""One short file per transport, and `base`, which holds what all of them share."""
