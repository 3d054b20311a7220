"""Mutation testing: each small change to the rules must make a test fail."""
