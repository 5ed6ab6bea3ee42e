"""Runs in object storage: copied there while they are under way, fetched from there to be read or finished."""
