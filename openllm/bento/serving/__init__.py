"""Processes that serve a project."""
