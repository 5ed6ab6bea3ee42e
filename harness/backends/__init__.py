"""Backends: everything that answers requests."""
