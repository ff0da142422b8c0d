"""What decides whether a pair is good: extract columns, vote, weigh the votes, prune concepts.

Pure: arrays and settings in, arrays out. No Ray, no file formats of ours, no clock.
"""
