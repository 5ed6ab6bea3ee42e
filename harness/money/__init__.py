"""What answers cost: the dated price table, estimates, and what a saving buys."""
