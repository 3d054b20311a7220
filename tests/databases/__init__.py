"""The same promises on every database: servers of the tests' own, on loopback."""
