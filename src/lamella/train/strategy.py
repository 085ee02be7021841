"""How several processes share a training run."""

from __future__ import annotations

from typing import Any, Literal

import torch

from lamella.errors import UsageError

Strategy = Literal["auto", "ddp", "fsdp"]


def strategy_of(name: Strategy, device: str, world: int) -> Any:
    """Lightning's strategy for a name.

    "ddp" gives each process the whole network and its share of the batches (gloo on CPUs, NCCL on GPUs). "fsdp" also
    shares out weights, gradients and optimiser state, block by block of the U-Net (Zhao et al., arXiv 2304.11277); for
    networks such as `medium` whose state does not fit beside their activations.

    Raises:
        UsageError: fsdp without a GPU.
    """
    if name == "auto":
        return "auto" if world == 1 else "ddp"
    if name == "ddp":
        return "ddp"
    if device == "cpu" or not torch.cuda.is_available():
        raise UsageError("strategy fsdp needs CUDA devices. Found none. Use ddp, or auto.")
    return fsdp()


def fsdp() -> Any:
    """FSDP over the U-Net's residual and attention blocks."""
    from lightning.pytorch.strategies import FSDPStrategy

    from lamella.networks.diffusion_unet import BLOCKS

    return FSDPStrategy(auto_wrap_policy=set(BLOCKS), state_dict_type="full", use_orig_params=True)
