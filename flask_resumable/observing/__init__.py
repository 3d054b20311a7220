"""Measures storages, repositories and hooks for an observer. They are wrapped when the app starts, or not at all."""
