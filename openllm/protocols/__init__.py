"""Wire formats: HTTP bodies in, bytes out."""
