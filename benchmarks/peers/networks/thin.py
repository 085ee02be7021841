"""Thin slices by a network of a paper.

    python thin.py THICK THIN.nii.gz --thickness-mm 5 --thin-mm 1.25 --run FOLDER     a run of train.py
    python thin.py THICK THIN.nii.gz --thickness-mm 5 --thin-mm 1.25 --package        SAINT as py-SAINT distributes it

THICK is NIfTI or DICOM. The volume is computed in pieces that overlap; what is done is kept beside THIN, and a run that was
stopped goes on there. A geometry for which a network is not made is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch
from kinds import KINDS, LAST, Kind, answer, of_checkpoint, of_package
from numpy.typing import NDArray
from torch import nn

from lamella.nifti.image import write_nifti
from lamella.sources.source import read_source
from lamella.volume import Geometry, Volume, round_hu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thick", type=Path)
    parser.add_argument("thin", type=Path)
    parser.add_argument("--thickness-mm", type=float, required=True)
    parser.add_argument("--thin-mm", type=float, required=True)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--run", type=Path)
    given.add_argument("--package", action="store_true")
    asked = parser.parse_args()
    thick = read_source(asked.thick, thickness_mm=asked.thickness_mm)
    if asked.package:
        network, name, notes = of_package(), "saint", "As distributed: learnt on slices left out, not on averages."
    else:
        network, about = of_checkpoint(asked.run / LAST)
        name = str(about["kind"])
        notes = f"Trained for {about['cpu_seconds'] / 60:.3g} min of processor time, {about['steps']} steps."
    ratio = ratio_of(thick.geometry, asked.thin_mm, network)
    kept = asked.thin.with_name(f"{asked.thin.name}.{identity(network)}.npy")
    hu = restored(network.eval(), thick, ratio, KINDS[name], kept)
    spacing_mm = thick.geometry.spacing_mm / ratio
    first_mm = (spacing_mm - thick.geometry.spacing_mm) / 2
    geometry = thick.geometry.with_slices(len(hu), spacing_mm, first_mm, spacing_mm)
    write_nifti(asked.thin, [Volume(round_hu(hu), geometry)], thick.header)
    kept.unlink(missing_ok=True)
    count = sum(one.numel() for one in network.parameters())
    print(json.dumps({"notes": f"{notes} {count / 1e6:.2f} million weights."}))
    return 0


def identity(network: nn.Module) -> str:
    """What tells the weights of one network from another's."""
    found = hashlib.sha256()
    for tensor in network.state_dict().values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()[:12]


def ratio_of(thick: Geometry, thin_mm: float, network: nn.Module) -> int:
    """Thin slices of a slab.

    Raises:
        SystemExit: slices that overlap or leave gaps, or a ratio that the network has not learnt.
    """
    ratio = thick.spacing_mm / thin_mm
    if abs(thick.thickness_mm / thick.spacing_mm - 1) > 0.02:
        raise SystemExit(
            f"Made for abutting slices alone. Found {thick.thickness_mm:g} mm every {thick.spacing_mm:g} mm."
        )
    if abs(ratio - round(ratio)) > 0.01 or round(ratio) not in network.ratios:
        raise SystemExit(f"Has learnt {' and '.join(map(str, network.ratios))} thin slices a slab. Found {ratio:g}.")
    return round(ratio)


def restored(network: nn.Module, thick: Volume, ratio: int, kind: Kind, kept: Path) -> NDArray[np.float32]:
    """(K * ratio, y, x) HU; of each piece only the inner slabs and pixels are taken, but at the ends of the volume."""
    hu, tile, margin = thick.hu.astype(np.float32), kind.tile_px, kind.margin_px
    count, rows, columns = hu.shape
    padded = np.pad(hu, ((0, max(0, kind.depth - count)), *[(margin, margin + tile)] * 2), mode="edge")
    shape = len(padded) * ratio, rows, columns
    made = np.load(kept) if kept.is_file() else np.full(shape, np.nan, np.float32)
    spacings = thick.geometry.spacing_mm, thick.geometry.pixel_mm
    for first, taken in pieces(len(padded), kind.depth, kind.edge):
        slices = slice((first + taken.start) * ratio, (first + taken.stop) * ratio)
        for y, x in product(range(0, rows, tile), range(0, columns, tile)):
            here = slices, slice(y, min(y + tile, rows)), slice(x, min(x + tile, columns))
            if not np.isnan(made[here]).any():
                continue
            high, wide = here[1].stop - y, here[2].stop - x
            bottom, right = (-(-length // 8) * 8 + 2 * margin for length in (high, wide))
            block = np.ascontiguousarray(padded[first : first + kind.depth, y : y + bottom, x : x + right])
            with torch.inference_mode():
                found = answer(network, torch.from_numpy(block)[None], ratio, *spacings)[0].numpy()
            within = slice(taken.start * ratio, taken.stop * ratio)
            made[here] = found[within, margin : margin + high, margin : margin + wide]
            staged = kept.with_suffix(".new")
            with staged.open("wb") as file:
                np.save(file, made)
            os.replace(staged, kept)
    return made[: count * ratio]


def pieces(count: int, depth: int, edge: int) -> Iterator[tuple[int, slice]]:
    """(first slab of a piece, which of its slabs are taken): all but the edges, and those too at the ends of the volume."""
    for first in [*range(0, count - depth, depth - 2 * edge), count - depth]:
        yield first, slice(0 if first == 0 else edge, depth if first == count - depth else depth - edge)


if __name__ == "__main__":
    raise SystemExit(main())
