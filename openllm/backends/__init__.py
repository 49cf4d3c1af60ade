"""Engines: token ids in, TokenDeltas out."""
