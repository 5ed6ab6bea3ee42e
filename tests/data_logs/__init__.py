"""Logs of production calls, written here in the forms in which they are kept."""
