"""The extension beside others that apps use."""
