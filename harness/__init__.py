"""Bench: can a small fine-tuned model replace the paid API, and how sure are we?"""
