"""OpenAI-compatible servers; `harness.backends.openai_backend` puts these parts together."""
