"""The demo page in a real browser, against a real server. Run with ``pytest -m browser``."""
