"""Logs of production calls: read in the forms in which they are kept, written as rows and recorded answers."""
