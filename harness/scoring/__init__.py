"""Parsing and scoring answers: labels, patterns, numbers, JSON."""
