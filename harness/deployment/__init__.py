"""Whether a deployed copy of a model answers as the model did: `bench parity`."""
