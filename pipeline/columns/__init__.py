"""Column stages: new columns for every shard, and how rows of many shards meet for them."""
