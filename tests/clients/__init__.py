"""What the vendors' own clients see of a real server: run by `make test-clients`."""
