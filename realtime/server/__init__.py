"""The TCP side: who may connect, how long a connection may take, and how many bytes it carries."""
