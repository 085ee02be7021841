"""A small geometry and a small model's shape, for tests."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import EmbeddedSettings, FlowNet, MeanScaleNet
from lamella.embedded.weights import Calibration
from lamella.thinning.model import Limits
from lamella.volume import Geometry

SMALL = EmbeddedSettings(
    side=4,
    trunk_channels=(8, 16),
    trunk_blocks=(1, 2),
    head_hidden=8,
    head_basis=2,
    flow_hidden=0,
    flow_channels=(8, 16),
    flow_blocks=(1, 1),
)
"""Packed 4 x 4, with a flow that reads the features themselves."""

SUMMARISED = dataclasses.replace(SMALL, side=2, flow_hidden=6)
"""Packed 2 x 2, with a flow that reads a summary."""


def awake(settings: EmbeddedSettings) -> EmbeddedModel:
    """Random weights, none of them zero: every path through the networks matters."""
    generator = torch.Generator().manual_seed(0)
    networks = MeanScaleNet(settings), FlowNet(settings)
    with torch.no_grad():
        for p in (p for network in networks for p in network.parameters()):
            p.copy_(0.3 * torch.randn(p.shape, generator=generator) / max(1, p[0].numel()) ** 0.5)
    mean, flow = (network.eval().requires_grad_(False) for network in networks)
    return EmbeddedModel("small", "0" * 64, "Apache-2.0", settings, Limits(), Calibration(), mean, flow)


def upright(shape: tuple[int, int, int], spacing_mm: float, thickness_mm: float, pixel_mm: float = 0.8) -> Geometry:
    """A supine axial grid: slices to the head, rows to the back, columns to the left."""
    affine = np.zeros((4, 4))
    affine[:3, 0] = (0, 0, spacing_mm)
    affine[:3, 1] = (0, pixel_mm, 0)
    affine[:3, 2] = (pixel_mm, 0, 0)
    affine[:, 3] = (-50.0, -40.0, 120.0, 1.0)
    return Geometry(shape, affine, thickness_mm)
