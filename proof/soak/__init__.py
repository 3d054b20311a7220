"""An hour of everything at once: clients of all kinds, while servers, the database and the disk fail."""
