"""Golden outputs, made and kept: `python -m tests.golden.outputs` renews them.

A change that should not change voxels leaves them alone. One that should renews them in a commit of its own that says why.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from tests.golden.phantom import Profile, thick_phantom
from tests.small_latent import small_latent_model

from lamella.models.registry import load_model
from lamella.thinning.grid import thin_grid
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin

FILE = Path(__file__).with_suffix(".npz")

EVERY_PX = 4
"""Of rows and columns one in so many is kept, of slices each; and a hash of all voxels."""

SIZES = {"6 x 64 x 64": (6, 64, 0.9), "12 x 96 x 96": (12, 96, 0.9)}
"""(thick slices, pixels a side, mm a pixel)."""


class Case(NamedTuple):
    """What is thinned, and how; target spacing 2 mm, so that the file stays small."""

    size: str
    profile: Profile
    model: str
    mode: Mode

    def __str__(self) -> str:
        return f"{self.size}, {self.profile}, {self.model} {self.mode}"


CASES = [
    *(
        Case(size, profile, "embedded", mode)
        for size in SIZES
        for profile in get_args(Profile)
        for mode in get_args(Mode)
    ),
    *(Case("6 x 64 x 64", profile, "latent", mode) for profile in get_args(Profile) for mode in ("mean", "sample")),
]


def processor() -> str:
    """What the last bit of a product depends on; one of Linux is known by its model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "cpu family", "model", "stepping", "flags")
    known = "\n".join(line for line in lines if line.split("\t")[0].strip() in kinds)
    digest = hashlib.sha256(known.encode()).hexdigest()[:12]
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}, {digest}"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are split over threads, so their number decides the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def outputs(case: Case) -> dict[str, NDArray[np.int16]]:
    """The answer of a case, and in mode mean its spread in quarters of a HU, by name."""
    volume = thick_phantom(*SIZES[case.size], case.profile)
    model = small_latent_model() if case.model == "latent" else load_model(case.model)
    settings = ThinSettings(
        mode=case.mode,
        steps=2 if case.model == "latent" else None,
        samples=2 if (case.model, case.mode) == ("latent", "mean") else None,
        spread=case.mode == "mean",
        device="cpu",
        precision="fp32",
        memory_gb=4.0,
    )
    with _one_thread():
        done = thin(volume, model, thin_grid(volume.geometry, spacing_mm=2.0), settings)
    found = {str(case): done.volume.hu.astype(np.int16)}
    if done.spread is not None:
        found[f"{case}, spread"] = (4 * done.spread.hu).round().astype(np.int16)
    return found


def kept_part(hu: NDArray[np.int16]) -> NDArray[np.int16]:
    """The voxels that the file holds."""
    return hu[:, ::EVERY_PX, ::EVERY_PX]


def sha256_of_voxels(hu: NDArray[np.int16]) -> str:
    """Of all voxels, whatever this machine's byte order."""
    return hashlib.sha256(np.ascontiguousarray(hu, dtype="<i2").tobytes()).hexdigest()


def renew() -> None:
    """Write the file anew."""
    arrays: dict[str, NDArray] = {"processor": np.array(processor())}
    for case in CASES:
        for name, hu in outputs(case).items():
            arrays[name] = kept_part(hu)
            arrays[f"{name}, sha256"] = np.array(sha256_of_voxels(hu))
            print(name, hu.shape, int(hu.min()), int(hu.max()))
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    renew()
