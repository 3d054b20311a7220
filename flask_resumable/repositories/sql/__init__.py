"""Records in SQL databases: the embedded SQLite file, or the app's own database."""
