"""Which pairs are in the subset, step by step; clusters and copies are in `pipeline/concepts`."""
