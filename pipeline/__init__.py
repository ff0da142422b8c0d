"""How data lies and moves.

```
shards --score--> scores --vote--> votes --ensemble--> p(keep) --concepts--> subset
 (tar)   cells  (Parquet)  rules  {1,0,-1}  label model         prune, balance   (uids)
```
"""
