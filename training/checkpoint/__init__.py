"""What outlives a process: the resumable state, and the finished checkpoint."""
