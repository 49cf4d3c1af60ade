"""The chat page: static files."""
