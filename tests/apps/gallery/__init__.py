"""A gallery: guests whom a partner has invited upload pictures and tables to S3, and a worker looks at each of them."""
