"""Fuzzing of everything that reads what a client has written."""
