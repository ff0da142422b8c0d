"""What a step minimises, for one process or many."""
