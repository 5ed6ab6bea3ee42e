"""From what a person asked to answers in a run directory: the plan, the streams, the ceiling, the cache."""
