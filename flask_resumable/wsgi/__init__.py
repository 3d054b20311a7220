"""The bodies of requests, as each WSGI server hands them out."""
