"""Asking OpenAI-compatible servers: one idea a file; `harness.backends.openai` puts them together."""
