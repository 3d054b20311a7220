"""The IETF draft "Resumable Uploads for HTTP"."""
