"""results.json of an evaluation: its schema, and its file."""
