"""From a run directory to its summary: every figure with its interval, computed once."""
