"""The embedded model: its networks, its loss, and how it thins a volume."""
