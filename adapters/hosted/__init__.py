"""Fine-tuning at a provider: the files, the price, the job, and the manifest of a model that stays there."""
