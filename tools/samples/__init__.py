"""Generators of the embedded samples in `tasks/data`; the samples are built byte for byte and committed."""
