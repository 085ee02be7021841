"""Training: thin Lightning modules. No mathematics here; the losses live with what they train."""

from lamella.train.embedded import train_embedded
from lamella.train.settings import EmbeddedRun

__all__ = ["EmbeddedRun", "train_embedded"]
