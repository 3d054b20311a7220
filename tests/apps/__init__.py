"""Apps as a user builds them, from the documentation alone, and their tests."""
