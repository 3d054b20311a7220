"""Losses of power: what a disk may look like after each of them, and whether every promise still holds there."""
