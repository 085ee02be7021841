"""Round-trip error of an autoencoder codec, in HU: a series encoded (the posterior's mean), decoded, and compared.

    python benchmarks/codec.py FOLDER SERIES [SERIES ...] [--slices 40]
    python benchmarks/codec.py runs/compact/model ../shared/ct/val/lidc-0002-1.25mm ../shared/ct/pair/phantom-thin-1mm

FOLDER is a codec's folder, or a latent model's. The middle slices of each series are taken. Values beyond the codec's
range are clipped in the truth too: `thin` takes those from the interpolation. Beside the codec stands what a mean over
blocks of as many voxels as a latent cell has would leave, a codec with one number a cell instead of four. A codec with side
information is shown slices of 5 mm every 5 mm, averaged from the series and interpolated; their own error stands beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.codecs.folder import load_codec
from lamella.codecs.kl import KlCodec
from lamella.physics.slice_operator import SliceOperator, along_z, cubic_matrix, thick_grid
from lamella.sources.source import read_source
from lamella.volume import Geometry

TILE = (64, 256, 256)
"""Voxels; short memory, and the same answer where the codec has no normalisation."""


THICK_MM = 5.0
"""Thickness and spacing of the slices that a codec with side information is shown."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codec", type=Path)
    parser.add_argument("series", nargs="+", type=Path)
    parser.add_argument("--slices", type=int, default=40)
    asked = parser.parse_args()
    codec = load_codec(asked.codec).with_settings(tile=TILE)
    print("| series | slices | method | RMSE body | lung | soft tissue | bone | mean error, body | PSNR 4095, dB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in asked.series:
        volume = read_source(path)
        count = min(asked.slices, len(volume.hu))
        first = (len(volume.hu) - count) // 2
        g = volume.geometry
        hu = volume.hu[first : first + count].astype(np.float32)
        hu = hu.clip(codec.settings.low_hu, codec.settings.high_hu)
        geometry = g.with_slices(count, g.spacing_mm, 0.0, g.thickness_mm)
        beside = interpolated(hu, geometry)
        rows = [("codec", round_trip(codec, hu, beside)), ("mean of each cell", cell_means(hu, codec.factor))]
        rows += (
            [("interpolated, 5 mm", beside.clip(codec.settings.low_hu, codec.settings.high_hu))] if codec.shown else []
        )
        for name, back in rows:
            print(f"| {path.name} | {count} | {name} | {figures(back, hu, geometry)} |", flush=True)
    return 0


def round_trip(codec: KlCodec, hu: NDArray[np.float32], beside: NDArray[np.float32]) -> NDArray[np.float32]:
    """(z, y, x) HU through the codec."""
    depth, rows, columns = hu.shape
    latent = codec.encode(torch.from_numpy(hu)[None, None])
    shown = torch.from_numpy(beside)[None, None]
    back: NDArray[np.float32] = codec.decode(latent, (depth, rows, columns), shown)[0, 0].numpy()
    return back.clip(codec.settings.low_hu, codec.settings.high_hu)


def interpolated(hu: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
    """(z, y, x) HU, averaged to slices of 5 mm every 5 mm and interpolated back."""
    thick = thick_grid(geometry, THICK_MM, THICK_MM)
    measured = SliceOperator.between(geometry, thick).blur(torch.from_numpy(hu)).round()
    back: NDArray[np.float32] = along_z(cubic_matrix(thick.centres_mm, geometry.centres_mm), measured).numpy()
    return back


def cell_means(hu: NDArray[np.float32], cell: tuple[int, int, int]) -> NDArray[np.float32]:
    """(z, y, x) HU, each cell replaced by its mean."""
    depth, rows, columns = hu.shape
    whole = F.pad(
        torch.from_numpy(hu)[None, None], (0, -columns % cell[2], 0, -rows % cell[1], 0, -depth % cell[0]), "replicate"
    )
    coarse = F.avg_pool3d(whole, cell)
    back = F.interpolate(coarse, size=whole.shape[2:], mode="nearest")[0, 0, :depth, :rows, :columns]
    return np.asarray(back.numpy())


def figures(back: NDArray[np.float32], hu: NDArray[np.float32], geometry: Geometry) -> str:
    """RMSE in HU by tissue, mean error and PSNR as cells of a table; a dash where there is no such tissue."""
    body = metrics.body_mask(hu)
    lung = metrics.lung_mask(hu, body)
    masks = (body, lung, metrics.soft_tissue_mask(hu, geometry, body), metrics.bone_mask(hu, geometry, body))
    errors = [f"{metrics.rmse_hu(back, hu, mask):.1f}" if mask.any() else "-" for mask in masks]
    return " | ".join(
        [*errors, f"{metrics.mean_error_hu(back, hu, body):+.1f}", f"{metrics.psnr(back, hu, 4095.0, body):.2f}"]
    )


if __name__ == "__main__":
    raise SystemExit(main())
