"""The manual, as claims that are checked."""
