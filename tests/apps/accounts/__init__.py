"""Documents of users who log in, with the extensions that such an app usually has."""
