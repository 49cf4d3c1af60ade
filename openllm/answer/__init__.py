"""Token ids in, parts of an answer out."""
