"""What can be done with uploads, independent of protocol, database and storage."""
