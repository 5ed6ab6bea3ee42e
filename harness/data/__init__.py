"""Rows: read from files or the Hub, put in order, grouped, and compared with what a model was trained on."""
