"""Real models and servers on one machine: their environments, how they start, what Bench measures on them."""
