"""Logs of other evaluation tools, written here in their shape."""
