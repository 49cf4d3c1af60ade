"""From checked files to a model that can compute."""
