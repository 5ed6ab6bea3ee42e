"""A backend's log: the lines, the files they stand in, and how a long one is kept."""
