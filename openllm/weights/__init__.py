"""From a name to checked files."""
