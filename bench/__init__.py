"""What uploads cost, beside other servers: ``python -m bench``; see README.md."""
