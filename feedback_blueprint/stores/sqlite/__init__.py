"""Messages and votes in one SQLite file."""
