"""The networks by name: how each is made, trained and asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import torch
from i3net import I3Net
from saint import Saint
from torch import Tensor, nn
from tvsrn import Tvsrn

LAST = "last.pt"
"""The newest state of a training run, in its folder."""


@dataclass(frozen=True)
class Kind:
    """A network of a paper.

    Attributes:
        make: with fresh weights.
        batch, size_px: of a training batch.
        rate: largest learning rate.
        tile_px: rows and columns that are computed at once.
        margin_px: of a tile, computed and thrown away; a multiple of 8, as tiles are.
        depth: slabs that are computed at once.
        edge: of these, computed and thrown away at either end.
    """

    make: Callable[[], nn.Module]
    batch: int
    size_px: int
    rate: float
    tile_px: int
    margin_px: int
    depth: int
    edge: int


KINDS = {
    "tvsrn": Kind(Tvsrn, batch=2, size_px=64, rate=5e-4, tile_px=256, margin_px=16, depth=4, edge=1),
    "i3net": Kind(I3Net, batch=2, size_px=64, rate=5e-4, tile_px=256, margin_px=16, depth=4, edge=1),
    "saint": Kind(Saint, batch=1, size_px=32, rate=5e-5, tile_px=256, margin_px=16, depth=16, edge=2),
}

_PACKAGE = {"marginal": "py_SAINT/STAGE1/model_best.pt", "fusion": "py_SAINT/STAGE2/model_best.pt"}


def answer(network: nn.Module, thick: Tensor, ratio: int, spacing_mm: float, pixel_mm: tuple[float, float]) -> Tensor:
    """(b, K, y, x) thick HU -> (b, K * ratio, y, x); the spacings are for the one network that asks for them."""
    given = (spacing_mm, pixel_mm) if isinstance(network, Saint) else ()
    made: Tensor = network(thick, ratio, *given)
    return made


def of_package() -> Saint:
    """SAINT with the tensors of py-SAINT; its code is not imported, and nothing but tensors is read."""
    network, package = Saint(), distribution("py-SAINT")
    for part, name in _PACKAGE.items():
        tensors = torch.load(package.locate_file(name), map_location="cpu", weights_only=True)
        getattr(network, part).load_state_dict(tensors)
    return network


def of_checkpoint(path: Path) -> tuple[nn.Module, dict[str, object]]:
    """The network of a training run, and what the run noted."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    network = KINDS[kept["kind"]].make()
    network.load_state_dict(kept["network"])
    return network, {key: kept[key] for key in ("kind", "steps", "cpu_seconds", "curve")}
