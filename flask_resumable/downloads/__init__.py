"""Finished uploads, to be fetched."""
