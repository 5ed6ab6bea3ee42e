"""From an answer to what it says: labels, patterns, JSON."""
