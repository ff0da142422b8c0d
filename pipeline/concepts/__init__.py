"""Steps of deciding that look at clusters: near-copies, quotas."""
