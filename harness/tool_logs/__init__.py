"""Results of other evaluation tools as run directories of Bench."""
