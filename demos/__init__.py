"""The pages: one per transport and one that explains them all; files, and no code of the server."""
