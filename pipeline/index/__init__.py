"""The training index: where every pair's picture lies, and what is said of it, by range of uids.

    score tables or tars -> rows -> shuffled by uid -> Arrow files, memory-mapped by `Pairs`

Built by tasks, so that no process ever holds a pool, and read by position without being loaded.
"""
