"""The server that knows no wire format: it reads bodies, runs requests and writes what comes."""
