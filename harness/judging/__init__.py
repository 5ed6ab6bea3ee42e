"""Judges and people: pairs of answers, verdicts on them, and what these add up to."""
