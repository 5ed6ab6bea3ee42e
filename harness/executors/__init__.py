"""Where a local model runs: in this process, or in Ray workers on other devices and machines."""
