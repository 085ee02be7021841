"""A small evaluation as `lamella evaluate` leaves it: a drawn body, two interpolations, and a method between cubic and truth.

Every figure is computed by `lamella.metrics` from the volumes beside it; nothing of a person is in it.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamella.metrics import aligned_cubic, kind_of, largest_differences, psnr, rmse_hu
from lamella.metrics.catalogue import FIGURES, NOMINAL
from lamella.nifti.image import write_nifti
from lamella.physics.slice_operator import SliceOperator
from lamella.volume import Geometry, Volume

METHODS = {"mean": ("Lamella mean", "model"), "cubic": ("Cubic", "baseline"), "flat": ("Nearest", "baseline")}
SHAPE = (60, 56, 64)


def grid(shape: tuple[int, int, int] = SHAPE, spacing_mm: float = 1.0, pixel_mm: float = 1.5) -> Geometry:
    """Axial slices, centred on the origin."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing_mm, pixel_mm, pixel_mm, 1.0
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape, affine, spacing_mm)


def body(geometry: Geometry, seed: int = 0) -> NDArray[np.int16]:
    """Soft tissue with two lungs, a bright ball to the left, behind and above, and noise."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3], -1, 0)
    hu = np.where((x / 34) ** 2 + (y / 27) ** 2 < 1, 40.0, -1000.0)
    for side in (-15, 15):
        hu = np.where(((x - side) / 9) ** 2 + (y / 16) ** 2 + (z / 24) ** 2 < 1, -850.0, hu)
    hu = np.where((x - 14) ** 2 + (y - 19) ** 2 + (z - 12) ** 2 < 5**2, 400.0, hu)
    noise = np.random.default_rng(seed).normal(0, 12, geometry.shape)
    return np.clip(np.rint(hu + noise), -1024, 3071).astype(np.int16)


def thickened(truth: Volume, count: int = 12, thickness_mm: float = 5.0) -> Volume:
    """Abutting slabs of the truth."""
    geometry = truth.geometry.with_slices(count, thickness_mm, (thickness_mm - 1) / 2, thickness_mm)
    operator = SliceOperator.between(truth.geometry, geometry)
    hu = operator.blur(torch.from_numpy(truth.hu.astype(np.float32))).numpy()
    return Volume(np.rint(hu).astype(np.int16), geometry)


def answers_of(truth: Volume, thick: Volume) -> dict[str, NDArray[np.int16]]:
    """What the methods make of the thick slices; the mean is half truth, half cubic."""
    cubic = np.rint(aligned_cubic(thick.hu, thick.geometry.centres_mm, truth.geometry.centres_mm))
    mean = np.rint((cubic + truth.hu) / 2)
    return {
        name: hu.astype(np.int16) for name, hu in (("mean", mean), ("cubic", cubic), ("flat", thick.hu.repeat(5, 0)))
    }


def write_results(folder: Path, cases: int = 1, *, person: bool = False, volumes: bool = True) -> Path:
    """Write results.json and the volumes of so many cases.

    Returns:
        The folder.
    """
    records = [_case(folder, f"case-{number}", number, person, volumes) for number in range(cases)]
    content = {
        "lamella": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 12.0,
        "settings": {"crop_to_body": False, "out": "results", "seed": 0, "baselines": ["cubic", "nearest"]},
        "model": [{"name": "embedded", "sha256": "0" * 64, "licence": "Apache-2.0"}],
        "methods": [{"name": name, "label": label, "kind": kind} for name, (label, kind) in METHODS.items()],
        "figures": {name: dataclasses.asdict(about) for name, about in FIGURES.items()},
        "cases": records,
        "pooled": {name: _pooled(records, name) for name in METHODS},
        "gains": [gain for record in records for gain in _gains(record)] + _pooled_gains(records),
        "failures": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _case(folder: Path, name: str, seed: int, person: bool, volumes: bool) -> dict[str, Any]:
    truth = Volume(body(grid(), seed), grid())
    thick = thickened(truth)
    answers = answers_of(truth, thick)
    inside = truth.hu > -500
    places: dict[str, Any] = {"thick": None, "truth": None, "spread": None, "methods": {}}
    if volumes:
        spread = Volume(np.full(truth.hu.shape, 20, np.int16), truth.geometry)
        for key, volume in (("thick", thick), ("truth", truth), ("spread", spread)):
            places[key] = _write(folder, name, key, volume)
        for key in ("mean", "cubic"):
            places["methods"][key] = _write(folder, name, key, Volume(answers[key], truth.geometry))
    errors = {key: hu.astype(np.float64) - truth.hu for key, hu in answers.items()}
    shares = [float((np.abs(errors["mean"])[inside] < 20 * z).mean()) for z in (0.674, 1.0, 1.282, 1.645, 1.96)]
    return {
        "id": name,
        "title": f"{name}, 5 mm every 5 mm",
        "kind": "phantom",
        "group": name,
        "person": person,
        "thick": {"slices": 12, "spacing_mm": 5.0, "thickness_mm": 5.0},
        "thin": {"slices": 60, "spacing_mm": 1.0, "thickness_mm": 1.0},
        "pixel_mm": [1.5, 1.5],
        "scored_slices": 60,
        "scored_shape": list(SHAPE),
        "profile": "box",
        "notes": [],
        "regions": {"body": int(inside.sum())},
        "truth": {},
        "absent": {},
        "floor": {"sd_in_plane_hu": 12.0, "sd_along_z_hu": 12.0, "floor_soft_hu": 10.0, "white_floor_soft_hu": 10.7},
        "figures": {key: _figures(hu, truth.hu, inside) for key, hu in answers.items()},
        "intervals": {key: {"rmse_body_hu": [1.0, 99.0]} for key in answers},
        "slices": {
            "position_mm": truth.geometry.centres_mm.tolist(),
            "thick_position_mm": thick.geometry.centres_mm.tolist(),
            "rmse_body_hu": {key: np.sqrt((e**2).mean(axis=(1, 2))).tolist() for key, e in errors.items()},
            "noise_hu": {"truth": [12.0] * 60, "mean": [9.0] * 59 + [None]},
            "squares": {},
            "squares_body": {},
            "voxels": [],
            "voxels_body": [],
        },
        "spectra": {
            "along_z": {
                "frequency_per_mm": [0.1, 0.3, 0.5],
                "power": {"truth": [100.0, 90.0, 80.0], "mean": [100.0, 30.0, 0.0]},
            }
        },
        "shifts": {"shift_mm": [-1.0, 0.0, 1.0], "rmse_hu": {"mean": [30.0, 20.0, 31.0], "cubic": [33.0, 25.0, 34.0]}},
        "spheres": {
            "diameter_mm": [3.0, 5.0],
            "contrast": {"mean": [0.6, 0.9], "cubic": [0.4, 0.8]},
            "volume": {"mean": [0.5, 0.9], "cubic": [None, 0.7]},
        },
        "coverage": {"nominal": list(NOMINAL), "found": {"mean": shares}},
        "volumes": places,
        "harm": _harm(answers, truth, inside) if volumes else None,
    }


def _harm(answers: dict[str, NDArray[np.int16]], truth: Volume, inside: NDArray[np.bool_]) -> dict[str, Any]:
    """The worst places of the mean; a vessel is where the ball is."""
    found = {}
    for name, other in (("from_truth", truth.hu), ("from_cubic", answers["cubic"])):
        places = largest_differences(answers["mean"], other, inside, truth.geometry, 12, 12.0)
        found[name] = [
            {
                "position_mm": truth.geometry.position(*one.at).tolist(),
                "difference_hu": one.difference_hu,
                "kind": kind_of(truth.hu, truth.hu > 300, truth.geometry, one.at),
            }
            for one in places
        ]
    return {"method": "mean", "size_mm": 12.0, **found}


def _write(folder: Path, case: str, name: str, volume: Volume) -> str:
    place = Path("volumes") / case / f"{name}.nii.gz"
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    write_nifti(folder / place, [volume], None)
    return place.as_posix()


def _figures(hu: NDArray[np.int16], truth: NDArray[np.int16], inside: NDArray[np.bool_]) -> dict[str, float | None]:
    return {
        "rmse_hu": rmse_hu(hu, truth),
        "rmse_body_hu": rmse_hu(hu, truth, inside),
        "rmse_lung_hu": None,
        "psnr_4095_db": psnr(hu, truth, 4095.0),
        "bias_body_hu": float((hu.astype(float) - truth)[inside].mean()),
    }


def _gains(record: dict[str, Any]) -> list[dict[str, Any]]:
    gains = []
    for against in ("cubic", "flat"):
        of = {name: record["figures"][name]["psnr_4095_db"] for name in ("mean", against)}
        gains.append(_gain(record["id"], against, of["mean"] - of[against], 1))
    return gains


def _gain(case: str, against: str, difference: float, cases: int) -> dict[str, Any]:
    return {
        "case": case,
        "method": "mean",
        "against": against,
        "figure": "psnr_4095_db",
        "difference": difference,
        "interval": [difference - 0.5, difference + 0.5],
        "p": None,
        "cases": cases,
        "difference_at_best_shift": difference - 0.1,
    }


def _pooled_gains(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    every = [gain for record in records for gain in _gains(record)]
    return [
        _gain(
            "pooled", against, float(np.mean([g["difference"] for g in every if g["against"] == against])), len(records)
        )
        for against in ("cubic", "flat")
    ]


def _pooled(records: list[dict[str, Any]], method: str) -> dict[str, Any]:
    figures = records[0]["figures"][method]
    return {
        name: {
            "value": float(np.mean([r["figures"][method][name] for r in records])),
            "interval": None,
            "cases": len(records),
        }
        for name, value in figures.items()
        if value is not None
    }
