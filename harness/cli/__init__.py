"""The front door: one file per verb, each imported only when called."""
