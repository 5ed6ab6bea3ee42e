"""The run directory: logs, storage, and the class that reads and writes them."""
