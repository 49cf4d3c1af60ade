"""The server that knows no wire format."""
