"""Recipes of the reference cases, as TOML."""
