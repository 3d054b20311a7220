"""What the app configures: read once, checked at start."""
