"""The GPU check: one command that compares a card's answers with the CPU's and measures speed against its limits."""
