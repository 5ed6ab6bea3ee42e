"""Task plugins, one file each."""
