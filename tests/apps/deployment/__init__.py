"""Two nodes with PostgreSQL, nginx and Prometheus, set up as the documentation says."""
