"""State in MongoDB."""
