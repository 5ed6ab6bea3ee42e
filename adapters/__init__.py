"""The trainer and its recipes."""
