"""Who may connect, and how long a connection may take; every byte is counted here."""
