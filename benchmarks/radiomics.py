"""Which radiomics features of a result agree with those of the thin truth.

    pip install -r benchmarks/radiomics-requirements.txt     in an environment of its own: it brings ITK, 1.5 GB
    python benchmarks/radiomics.py RESULTS

RESULTS is what `lamella evaluate` wrote; `volumes` of its config says which methods were kept. From the truth of every case
balls of 16 mm are chosen in lungs, soft tissue and bone. MIRP, which follows the definitions of the Image Biomarker
Standardisation Initiative (Zwanenburg et al., Radiology 295:328, 2020), computes first-order and texture features (matrices of
co-occurrence, run length, size zone and neighbourhood difference; bins of 25 HU from -1000 HU) on the grid of the truth. A
feature agrees where Lin's concordance over all balls of a region is at least 0.85. Prints Markdown.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.evaluate.scans import scan_of
from lamella.metrics import concordance
from lamella.metrics.checks import Mask
from lamella.nifti.image import read_nifti
from lamella.results.files import read_results
from lamella.volume import Geometry

RADIUS_MM = 8.0
EACH = 6
"""Balls of a region in a case."""

LEAST_SHARE = {"lung": 0.8, "soft": 0.8, "bone": 0.3}
"""Of a ball that lies in its region: bone is thin."""

FAMILIES = {"statistics": "stat_", "cm": "cm_", "rlm": "rlm_", "szm": "szm_", "ngtdm": "ngt_"}
"""MIRP's families, and how the names of their features begin."""

AGREES = 0.85


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="what lamella evaluate wrote")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    folder, found = read_results(asked.results)
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}
    for case in found.cases:
        if case.volumes.truth is None:
            print(f"{case.id} is left out: its volumes were not kept.")
            continue
        files = {"truth": case.volumes.truth, **case.volumes.methods}
        read = {name: read_nifti(folder / file) for name, file in files.items()}
        truth = read["truth"]
        masks = scan_of(case.group, case.kind, case.person, truth, crop=False).masks
        for region, share in LEAST_SHARE.items():
            for box, ball in balls(masks[region], truth.geometry, share):
                for name, volume in read.items():
                    rows.setdefault(name, {}).setdefault(region, []).append(features(volume.hu[box], ball))
    if not rows:
        print("No ball has room in any case.")
        return 1
    true = rows.pop("truth")
    print(f"Share of features with concordance of at least {AGREES:g}\n")
    print("| | " + " | ".join(f"{region}, {len(true[region])} balls" for region in true) + " |")
    print("|---" * (len(true) + 1) + "|")
    for name, regions in rows.items():
        shares = (share_that_agrees(regions[region], true[region]) for region in true)
        print(f"| {found.label(name)} | " + " | ".join("-" if one is None else f"{one:.2f}" for one in shares) + " |")
    return 0


def balls(region: Mask, geometry: Geometry, least_share: float) -> Iterator[tuple[tuple[slice, ...], Mask]]:
    """Boxes around balls that lie mostly in a region, chosen at random, apart from each other; and the ball in each."""
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    half = np.ceil(RADIUS_MM / steps_mm).astype(int)
    inside = ndimage.uniform_filter(region.astype(np.float32), tuple(2 * half + 1), mode="constant") >= least_share
    inner = tuple(slice(int(n), int(size - n)) for n, size in zip(half, region.shape, strict=True))
    centres = np.argwhere(inside[inner] & region[inner]) + half
    offsets = [np.arange(-n, n + 1) * step for n, step in zip(half, steps_mm, strict=True)]
    ball = np.asarray(sum(part**2 for part in np.meshgrid(*offsets, indexing="ij")) <= RADIUS_MM**2)
    taken: list[NDArray[np.intp]] = []
    for centre in np.random.default_rng(0).permutation(centres):
        if all(np.linalg.norm((centre - other) * steps_mm) >= 2 * RADIUS_MM for other in taken):
            taken.append(centre)
            yield tuple(slice(int(c - n), int(c + n + 1)) for c, n in zip(centre, half, strict=True)), ball
        if len(taken) == EACH:
            return


def features(hu: NDArray[Any], ball: Mask) -> dict[str, float]:
    """First-order and texture features of the voxels in a ball."""
    from mirp import extract_features

    (table,) = extract_features(
        image=hu.astype(np.float32),
        mask=ball.astype(np.uint8),
        image_modality="ct",
        base_feature_families=list(FAMILIES),
        base_discretisation_method="fixed_bin_size",
        base_discretisation_bin_width=25.0,
        resegmentation_intensity_range=[-1000.0, np.nan],
    )
    beginnings = tuple(FAMILIES.values())
    return {name: float(table[name].iloc[0]) for name in table.columns if name.startswith(beginnings)}


def share_that_agrees(measured: Sequence[Mapping[str, float]], true: Sequence[Mapping[str, float]]) -> float | None:
    """Share of the features whose concordance over all balls is at least `AGREES`; None where none can be judged.

    A feature that is not finite in one of the balls, or the same in all, cannot be judged.
    """
    agree = []
    for name in set.intersection(*(set(one) for one in (*measured, *true))):
        ours, theirs = ([one[name] for one in side] for side in (measured, true))
        if np.isfinite([*ours, *theirs]).all() and (value := concordance(ours, theirs)) is not None:
            agree.append(value >= AGREES)
    return float(np.mean(agree)) if agree else None


if __name__ == "__main__":
    raise SystemExit(main())
