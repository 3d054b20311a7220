"""The protocols, and the layer between them and Flask."""
