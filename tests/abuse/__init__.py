"""What strangers hand to Bench, and what happens to a machine while it works."""
