"""Statistics: pure functions with their sources."""
