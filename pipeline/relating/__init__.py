"""Score columns that need the whole pool: how a pair relates to all the others."""
