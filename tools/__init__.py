"""Build tools of the repository; not installed with Bench."""
