"""A blinded test without readers: can a small classifier tell a result from the real thin scan beside it?

It sees what an eye sees that looks along the slices: a coronal and a sagittal patch through one point, in a window of soft
tissue and one of lung, and how rough each slice of them is. It learns on scans of its own and is judged on others. 50 % is
chance: the texture cannot be told from a real one by this judge. A better judge may still tell it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask
from lamella.results.evidence import Judged
from lamella.window import SOFT_TISSUE, HuWindow

SLICES, PIXELS = 24, 32
"""A patch: so many slices high, so many pixels wide."""

WINDOWS = (SOFT_TISSUE, HuWindow(-750.0, 700.0))
"""What the judge sees of the HU: soft tissue, and lung narrower than readers take it."""

PART_MM = 40.0
"""Side of the cubes that the bootstrap resamples where there are too few persons: what lies in one is alike."""

_BATCH, _RATE = 16, 2e-3
_LEAST = 1e-3
"""Of a window's half width: the roughness that counts as none, where all is black or white."""

_HEIGHT = SLICES // 2
_HALF = PIXELS // 2


@dataclass(frozen=True, eq=False)
class Sight:
    """One scan as the judge is shown it.

    Attributes:
        person: a group in intervals.
        truth, result: (z, y, x) HU on one grid.
        body: (z, y, x) mask of the truth.
        voxel_mm: (z, y, x) size of a voxel.
    """

    person: str
    truth: Hu
    result: Hu
    body: Mask
    voxel_mm: tuple[float, float, float]


class Judge(nn.Module):
    """Some thirty thousand weights: two patches as channels of one image, and the roughness of each slice."""

    def __init__(self) -> None:
        super().__init__()
        channels = 2 * len(WINDOWS)
        self.patch = nn.Sequential(
            *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU()),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.profile = nn.Sequential(
            *(nn.Conv1d(2 * channels, 24, 5, padding=2), nn.ReLU()),
            *(nn.Conv1d(24, 24, 5, padding=2), nn.ReLU()),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
        )
        self.answer = nn.Linear(48 + 24, 1)

    def forward(self, patches: Tensor) -> Tensor:
        """(b, c, z, x) patches -> (b,) how real each looks; above 0 it is called real."""
        along, across = (patches.diff(dim=axis, n=1).abs().mean(dim=3) for axis in (2, 3))
        rough = torch.cat([along, (across[:, :, 1:] + across[:, :, :-1]) / 2], dim=1)
        found = torch.cat([self.patch(patches), self.profile((rough + _LEAST).log())], dim=1)
        return torch.as_tensor(self.answer(found)).squeeze(1)


def points_of(sight: Sight, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(n, 3) random voxels of the body around which a patch of the scan fits; fewer where there are not so many."""
    reach = (_HEIGHT, _HALF, _HALF)
    inner = tuple(slice(far, max(far, size - far + 1)) for far, size in zip(reach, sight.body.shape, strict=True))
    points = np.argwhere(sight.body[inner]) + reach
    return np.asarray(points[rng.permutation(len(points))[:count]])


def patches_of(hu: Hu, points: NDArray[np.intp]) -> Tensor:
    """(n, channels, SLICES, PIXELS) in the windows' ranges: coronal and sagittal patches through points."""
    found = np.empty((len(points), 2, SLICES, PIXELS), dtype=np.float32)
    for n, (z, y, x) in enumerate(points):
        slab = slice(z - _HEIGHT, z + _HEIGHT)
        found[n, 0] = hu[slab, y, x - _HALF : x + _HALF]
        found[n, 1] = hu[slab, y - _HALF : y + _HALF, x]
    return torch.from_numpy(np.concatenate([window.to_unit(found) for window in WINDOWS], axis=1))


def trained_judge(sights: Sequence[Sight], points: int, epochs: int, seed: int) -> Judge:
    """Teach a judge to tell truth from result at so many points of all scans together, the same points in both.

    The same seed gives the same judge on one machine.

    Raises:
        LamellaError: no point of the scans has room for a patch.
    """
    real, made = _pairs(sights, points, seed)
    if not len(real):
        raise LamellaError(
            f"The judge has nothing to learn from: no scan has {SLICES} slices and {PIXELS} pixels around a point of the body."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge()
    order, steps = torch.Generator().manual_seed(seed), epochs * math.ceil(len(real) / _BATCH)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(real), generator=order), _BATCH):
            patches = torch.cat([real[batch], made[batch]])
            patches = patches.flip(3) if torch.rand(1, generator=order) < 0.5 else patches
            answers = judge(patches)
            wanted = (torch.arange(len(answers)) < len(batch)).float()
            loss = nn.functional.binary_cross_entropy_with_logits(answers, wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # typed in part
            optimiser.step()
            schedule.step()
    return judge.eval()


def judged(method: str, judge: Judge, sights: Sequence[Sight], points: int, seed: int) -> Judged:
    """How often a judge tells truth and result apart at points of scans that it has not seen.

    Alone: it is shown one patch and calls it real or made. Side by side: it is shown both of one place and says which is real,
    which a shift of brightness or noise from scan to scan cannot spoil.

    Raises:
        LamellaError: no point of the scans has room for a patch.
    """
    alone: list[float] = []
    beside: list[float] = []
    groups: list[str] = []
    people = {one.person for one in sights}
    enough = len(people) >= metrics.FEWEST_PAIRS
    for number, sight in enumerate(sights):
        at = points_of(sight, points // len(sights), np.random.default_rng([seed, number]))
        real, made = (_answers(judge, patches_of(hu, at)) for hu in (sight.truth, sight.result))
        alone += ((real > 0) / 2 + (made <= 0) / 2).tolist()
        beside += ((real > made) + (real == made) / 2).tolist()
        cubes = np.floor(at * sight.voxel_mm / PART_MM).astype(int).tolist()
        groups += [sight.person if enough else f"{number} {cube}" for cube in cubes]
    if not alone:
        raise LamellaError(
            f"The judge has nothing to judge: no scan has {SLICES} slices and {PIXELS} pixels around a point of the body."
        )
    return Judged(
        method,
        float(np.mean(alone)),
        float(np.mean(beside)),
        metrics.bootstrap_interval(alone, groups, seed=seed),
        metrics.bootstrap_interval(beside, groups, seed=seed),
        points=len(alone),
        people=len(people),
        over_people=enough,
    )


@torch.no_grad()
def _answers(judge: Judge, patches: Tensor) -> NDArray[np.float32]:
    found = [judge(part) for part in torch.split(patches, 256)]
    return np.asarray(torch.cat(found).numpy()) if found else np.zeros(0, np.float32)


def _pairs(sights: Sequence[Sight], points: int, seed: int) -> tuple[Tensor, Tensor]:
    """(n, c, z, x) real patches, and made ones of the same places."""
    real, made = [], []
    for number, sight in enumerate(sights):
        at = points_of(sight, points // len(sights), np.random.default_rng([seed, number]))
        real.append(patches_of(sight.truth, at))
        made.append(patches_of(sight.result, at))
    return torch.cat(real), torch.cat(made)
