"""The local engine: one base model, one worker thread, many handles."""
