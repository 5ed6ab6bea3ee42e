"""Looks at data before it is trained on or asked about."""
