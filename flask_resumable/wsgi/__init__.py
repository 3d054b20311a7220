"""Reads request bodies from different WSGI servers."""
