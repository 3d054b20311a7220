"""Bytes in object stores that take them in parts."""
