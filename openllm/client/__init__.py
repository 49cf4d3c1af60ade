"""Talks HTTP only."""
