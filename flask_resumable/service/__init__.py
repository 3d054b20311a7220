"""The use cases: what becomes of an upload, whatever protocol asks and wherever its bytes and record are kept."""
