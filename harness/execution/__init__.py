"""Running the backends of a run: plan, executor, answer cache, budget."""
