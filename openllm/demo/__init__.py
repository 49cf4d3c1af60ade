"""The demo model and its adapters: package data only."""
