"""Local models in Ray workers, on other devices and machines."""
