"""From a row to a prompt: templates, examples, probes, the chat template of a model, and counts of tokens."""
