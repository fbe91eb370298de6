"""Decoding over a long, shared, uncopied prefix: growing caches, attention in parts, branches, sampling."""
