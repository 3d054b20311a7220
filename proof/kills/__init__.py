"""``kill -9`` at random moments of everything that clients and operators do, thousands of times."""
