"""The embedded demo model: package data only."""
