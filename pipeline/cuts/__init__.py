"""Cut points of a scored run's bands, chosen from what its rules say together."""
