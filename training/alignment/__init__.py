"""The alignment score: projections of frozen towers, fitted on the pool itself, out of fold."""
