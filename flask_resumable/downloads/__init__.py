"""Downloads of finished uploads."""
