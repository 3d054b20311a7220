"""flow.js and its relatives."""
