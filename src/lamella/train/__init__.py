"""Training: thin Lightning modules. No mathematics here; the losses live with what they train.

The reference system's runs (`train.vae`, `train.latent`) are imported from their own files: each needs a codec.
"""

from lamella.train.embedded import train_embedded
from lamella.train.settings import EmbeddedRun

__all__ = ["EmbeddedRun", "train_embedded"]
