"""Frameworks that stand on the vendors' clients, in an environment of their own."""
