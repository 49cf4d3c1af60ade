"""The packages of a Bento, pinned."""
