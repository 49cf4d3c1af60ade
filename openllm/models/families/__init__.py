"""The families, one file each, and nothing else."""
