"""Random numbers that belong to a slice: no block, tile or thread count changes them."""

from __future__ import annotations

import hashlib

import torch


def slice_generator(seed: int, sample: int, index: int) -> torch.Generator:
    """The generator of one slice of one draw."""
    digest = hashlib.sha256(f"lamella {seed} {sample} {index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
