"""Quality of the answers on real thin CT, thickened and restored, beside the aligned cubic spline.

    python benchmarks/quality.py                         every series in ct/val, then the real pair in ct/pair
    python benchmarks/quality.py --series FOLDER         another thin series instead (an inner validation split)

How each figure is made: benchmarks/README.md. Exit code 0 when every target is met, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from targets import Figures, print_table, print_targets, targets_of_pair, targets_of_run

import lamella.metrics as metrics
from lamella.slices import SliceOperator, thick_grid
from lamella.volume import AIR_HU, MAX_HU, Geometry, Volume

DEFAULT_CT = Path(os.environ.get("LAMELLA_CT", Path(__file__).resolve().parents[2] / "shared" / "ct"))
GEOMETRIES = "5/5,3/3,5/2.5,5/7"
STEPS = 8

Restore = Callable[[Volume, Geometry, str], tuple[np.ndarray, np.ndarray | None, float]]
"""(thick, thin grid, mode) -> HU on that grid, predicted standard deviation if the mode has one, seconds."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A thin series and where to measure in it; masks come from the whole series, then everything is cropped."""

    name: str
    volume: Volume
    masks: dict[str, np.ndarray]

    def cut(self, slices: slice, rows: slice = slice(None), columns: slice = slice(None)) -> Truth:
        """The part of it, volume and masks alike."""
        where = (slices, rows, columns)
        return Truth(self.name, cut(self.volume, *where), {name: mask[where] for name, mask in self.masks.items()})


def cut(volume: Volume, slices: slice, rows: slice, columns: slice) -> Volume:
    """The part of a volume, with its geometry moved along."""
    geometry = volume.geometry
    starts = [part.indices(size)[0] for part, size in zip((slices, rows, columns), geometry.shape, strict=True)]
    affine = np.array(geometry.affine)
    affine[:3, 3] = geometry.position(*starts)
    hu = np.ascontiguousarray(volume.hu[slices, rows, columns])
    return Volume(hu, Geometry(hu.shape, affine, geometry.thickness_mm))


def load(folder: Path, crop_px: int | None, slices: slice) -> Truth:
    from lamella.dicom import read_series

    volume = read_series(folder)
    body = metrics.body_mask(volume.hu)
    masks = {
        "body": body,
        "lung": metrics.lung_mask(volume.hu, body),
        "soft": metrics.soft_tissue_mask(volume.hu, volume.geometry, body),
    }
    rows, columns = (
        slice(None) if crop_px is None or crop_px >= size else slice((size - crop_px) // 2, (size + crop_px) // 2)
        for size in volume.geometry.shape[1:]
    )
    return Truth(folder.name, volume, masks).cut(slices, rows, columns)


def covered_slices(thin: Geometry, thick: Geometry) -> tuple[slice, slice]:
    """(thin slices that the slabs' range touches, those of them that lie wholly inside it).

    The first is the grid to restore, so that no slab reaches past it; only the second is scored.
    """
    low = thick.centres_mm[0] - thick.thickness_mm / 2
    high = thick.centres_mm[-1] + thick.thickness_mm / 2
    half = thin.spacing_mm / 2
    touched = np.flatnonzero((thin.centres_mm + half > low + 1e-6) & (thin.centres_mm - half < high - 1e-6))
    inside = np.flatnonzero((thin.centres_mm - half >= low - 1e-6) & (thin.centres_mm + half <= high + 1e-6))
    grid = slice(int(touched[0]), int(touched[-1]) + 1)
    return grid, slice(int(inside[0] - touched[0]), int(inside[-1] - touched[0]) + 1)


def stored(hu: np.ndarray) -> np.ndarray:
    """HU as a 12-bit CT stores them. Clipping the overshoot of the cubic baseline can only help it."""
    return np.clip(np.rint(hu), AIR_HU, MAX_HU).astype(np.int16)


def thickened(truth: Volume, thick: Geometry) -> Volume:
    """Box averages of the truth, rounded to integers as a scanner stores them."""
    operator = SliceOperator.between(truth.geometry, thick, profile="box")
    return Volume(stored(operator.blur(torch.from_numpy(truth.hu.astype(np.float32))).numpy()), thick)


def score(name: str, prediction: np.ndarray, truth: Truth, inner: slice) -> Figures:
    """Every figure that compares one answer with the truth on the scored slices."""
    hu, masks, spacing_mm = truth.volume.hu, truth.masks, truth.volume.geometry.spacing_mm
    found: Figures = {}
    for low, high in ((AIR_HU, MAX_HU), (-1024, 2048), (-160, 240)):
        pair = [values if high == MAX_HU else np.clip(values, low, high) for values in (prediction, hu)]
        found[f"psnr_{high - low}_db"] = metrics.psnr(*pair, high - low, case=name)
    found["psnr_4095_inner_db"] = metrics.psnr(prediction[inner], hu[inner], 4095, case=name)
    found["ssim_4095"] = metrics.ssim(prediction, hu, 4095, case=name)
    found["rmse_hu"] = metrics.rmse_hu(prediction, hu, case=name)
    for region, mask in masks.items():
        found[f"rmse_{region}_hu"] = metrics.rmse_hu(prediction, hu, mask, case=name) if mask.any() else None
    body = masks["body"]
    found["bias_body_hu"] = metrics.mean_error_hu(prediction, hu, body, case=name)
    found["gradient_error_z"] = metrics.gradient_error_z(prediction, hu, spacing_mm, body, case=name)
    steep = (metrics.steep_edges(hu, spacing_mm) & body).any()
    found["edge_ratio"] = (
        metrics.edge_second_difference_ratio(prediction, hu, spacing_mm, body, case=name) if steep else None
    )
    soft = masks["soft"]
    for key, measure in (("noise_in_plane", metrics.noise_sd_in_plane), ("noise_along_z", metrics.noise_sd_along_z)):
        found[f"{key}_ratio"] = measure(prediction, soft, name) / measure(hu, soft, "truth") if soft.any() else None
    return found


def consistency(prediction: np.ndarray, operator: SliceOperator, thick: Volume) -> Figures:
    """The misfit of the integers as written: A x - y in HU, over the whole image."""
    blurred = operator.blur(torch.from_numpy(prediction.astype(np.float32))).numpy()
    return {
        "consistency_rmse_hu": metrics.rmse_hu(blurred, thick.hu),
        "consistency_mean_hu": metrics.mean_error_hu(blurred, thick.hu),
    }


def measure_geometry(truth: Truth, thickness_mm: float, spacing_mm: float, modes: list[str], restore: Restore) -> dict:
    """Thicken, restore, score: one series, one geometry, baselines and modes."""
    thick = thickened(truth.volume, thick_grid(truth.volume.geometry, thickness_mm, spacing_mm))
    grid_slices, scored = covered_slices(truth.volume.geometry, thick.geometry)
    on_grid = truth.cut(grid_slices)
    target, grid = on_grid.cut(scored), on_grid.volume.geometry
    operator = SliceOperator.between(grid, thick.geometry, profile="box")
    thin_mm, thick_mm = target.volume.geometry.centres_mm, thick.geometry.centres_mm
    between = np.flatnonzero((thin_mm >= thick_mm[0] - 1e-6) & (thin_mm <= thick_mm[-1] + 1e-6))
    inner = slice(int(between[0]), int(between[-1]) + 1)

    def row(name: str, hu: np.ndarray) -> Figures:
        return {**score(name, hu[scored], target, inner), **consistency(hu, operator, thick)}

    cubic = metrics.aligned_cubic(thick.hu, thick_mm, grid.centres_mm)
    measured = torch.from_numpy(thick.hu.astype(np.float32))
    projected = operator.project(torch.from_numpy(cubic), measured).numpy()
    rows = {
        "cubic": row("cubic", stored(cubic)),
        "projected cubic": row("projected cubic", np.rint(projected).astype(np.int16)),
    }
    for mode in modes:
        hu, spread, seconds = restore(thick, grid, mode)
        rows[mode] = {**row(mode, hu), "seconds": seconds}
        if spread is not None:
            error = hu[scored].astype(np.float32) - target.volume.hu
            for region, mask in target.masks.items():
                covered = metrics.coverage(error, spread[scored], mask=mask) if mask.any() else None
                rows[mode][f"coverage_{region}"] = covered
    noise, soft = None, target.masks["soft"]
    if soft.any():
        in_plane = metrics.noise_sd_in_plane(target.volume.hu, soft)
        noise = {
            "in_plane_hu": in_plane,
            "along_z_hu": metrics.noise_sd_along_z(target.volume.hu, soft),
            "floor_hu": metrics.noise_floor_rmse_hu(in_plane, thick.hu.shape[0], grid.shape[0]),
        }
    return {
        "series": truth.name,
        "thickness_mm": thickness_mm,
        "spacing_mm": spacing_mm,
        "thick_slices": thick.hu.shape[0],
        "scored_slices": target.volume.hu.shape[0],
        "thin_spacing_mm": grid.spacing_mm,
        "truth_noise": noise,
        "rows": rows,
    }


def measure_pair(folder: Path, restore: Restore) -> dict:
    """A real thick and a real thin series of one scan: errors of cubic and mean, and their best shift along z."""
    from lamella.dicom import read_series

    thick_folder, thin_folder = (next(iter(sorted(folder.glob(f"*{kind}*"))), None) for kind in ("thick", "thin"))
    if thick_folder is None or thin_folder is None:
        raise SystemExit(f"No pair in {folder}: expected one folder named *thick* and one named *thin*.")
    truth, thick = read_series(thin_folder), read_series(thick_folder)
    centres_mm = truth.geometry.centres_mm
    mean, spread, seconds = restore(thick, truth.geometry, "mean")
    cubic = stored(metrics.aligned_cubic(thick.hu, thick.geometry.centres_mm, centres_mm))
    body = metrics.body_mask(truth.hu)
    rows: dict[str, Figures] = {}
    for name, hu in (("cubic", cubic), ("mean", mean)):
        best_mm, scores = metrics.best_shift_mm(hu, truth.hu, centres_mm, case=name)
        rows[name] = {
            "psnr_4095_db": metrics.psnr(hu, truth.hu, 4095, case=name),
            "rmse_hu": metrics.rmse_hu(hu, truth.hu, case=name),
            "rmse_body_hu": metrics.rmse_hu(hu, truth.hu, body, case=name),
            "best_shift_mm": best_mm,
            "refined_shift_mm": metrics.refined_shift_mm(scores),
        }
    rows["mean"]["seconds"] = seconds
    if spread is not None:
        rows["mean"]["coverage_body"] = metrics.coverage(mean.astype(np.float32) - truth.hu, spread, mask=body)
    return {
        "series": f"{thick_folder.name} against {thin_folder.name}",
        "shift_grid_mm": metrics.SHIFTS_MM,
        "rows": rows,
    }


def restorer(model_name: str, seed: int) -> Restore:
    """Lamella, as a function of thick volume, grid and mode; the model is loaded once."""
    from lamella.model import Model
    from lamella.thinning import ThinSettings, thin

    model, settings = Model.load(model_name), ThinSettings(seed=seed, steps=STEPS)

    def restore(thick: Volume, grid: Geometry, mode: str) -> tuple[np.ndarray, np.ndarray | None, float]:
        start = time.perf_counter()
        answer = thin(thick, model, grid, replace(settings, mode=mode, spread=mode == "mean"))
        seconds = time.perf_counter() - start
        off_mm = float(np.abs(answer.volume.geometry.centres_mm - grid.centres_mm).max())
        if off_mm > 1e-3:
            raise SystemExit(f"{mode}: the answer lies {off_mm:g} mm off the grid asked for; allowed 0.001 mm.")
        return answer.volume.hu, None if answer.spread is None else answer.spread.hu, seconds

    return restore


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path, default=DEFAULT_CT, help="folder with val/ and pair/ (default: %(default)s)")
    parser.add_argument("--series", type=Path, action="append", help="thin series instead of ct/val; may be repeated")
    parser.add_argument("--slices", default=":", metavar="FIRST:LAST", help="use only these slices of each series")
    parser.add_argument("--crop", type=int, metavar="N", help="use only the central N x N pixels")
    parser.add_argument("--model", default="embedded", help="model name or folder")
    parser.add_argument(
        "--modes", default="mean,texture,sample", help="any of mean, texture, sample; empty for baselines"
    )
    parser.add_argument("--geometries", default=GEOMETRIES, help="thickness/spacing in mm, comma-separated")
    parser.add_argument("--pair", choices=("auto", "yes", "no"), default="auto", help="auto: unless --series is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every figure here")
    return parser.parse_args(argv)


def main() -> int:
    asked = arguments()
    folders = asked.series or sorted(path for path in (asked.ct / "val").glob("*") if path.is_dir())
    if not folders:
        raise SystemExit(f"No thin series in {asked.ct / 'val'}. Give --ct or --series.")
    modes = [mode for mode in asked.modes.split(",") if mode]
    geometries = [tuple(map(float, one.split("/"))) for one in asked.geometries.split(",")]
    slices = slice(*(int(end) if end else None for end in asked.slices.split(":")))
    with_pair = bool(modes) and (asked.pair == "yes" or (asked.pair == "auto" and not asked.series))
    restore = restorer(asked.model, asked.seed) if modes else None
    runs, judged = [], []
    for folder in folders:
        truth = load(folder, asked.crop, slices)
        for thickness_mm, spacing_mm in geometries:
            run = measure_geometry(truth, thickness_mm, spacing_mm, modes, restore)
            print_table(run)
            runs.append(run)
            judged += targets_of_run(run)
    pair = measure_pair(asked.ct / "pair", restore) if with_pair else None
    if pair:
        print_table(pair)
        judged += targets_of_pair(pair)
    print_targets(judged)
    if asked.json:
        content: dict[str, Any] = {"model": asked.model, "seed": asked.seed, "steps": STEPS, "runs": runs, "pair": pair}
        content["targets"] = [asdict(target) for target in judged]
        asked.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if all(target.passed for target in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
