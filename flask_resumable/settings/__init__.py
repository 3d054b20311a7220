"""The settings of the extension: read and checked once, at start-up."""
