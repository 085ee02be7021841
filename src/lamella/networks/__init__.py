"""Shapes of networks, and a model's weights and card as one folder."""
