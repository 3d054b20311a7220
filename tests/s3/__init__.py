"""Bytes in an object store, on real servers: moto, and Ceph's gateway."""
