"""Reference pages and JSON Schemas, written from the code: `python -m docs.generate`."""
