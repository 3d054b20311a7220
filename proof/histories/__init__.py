"""Histories of claims, saves and appends by several processes, checked for linearizability."""
