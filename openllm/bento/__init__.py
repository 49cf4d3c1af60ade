"""Packaging: the only package that imports bentoml."""
