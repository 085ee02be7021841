"""Random numbers that belong to a slice: no block, tile or thread count changes them."""

from __future__ import annotations

import hashlib

import torch


def slice_generator(seed: int, sample: int, index: int, step: int = 0) -> torch.Generator:
    """The generator of one slice of one sample; `step` counts the noise added after the first, from 1."""
    later = f" {step}" if step else ""
    digest = hashlib.sha256(f"lamella {seed} {sample} {index}{later}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
