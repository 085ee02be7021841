"""What each correction around the embedded networks is worth: every one switched off in turn, on left-out scans and phantoms.

    python benchmarks/corrections.py [--model embedded] [--crop-px 160] [--kept corrections.json] [CONFIG ...]

CONFIG are evaluations (configs/evaluate-calibration.yaml and configs/evaluate-fine-pixels.yaml if none are given): their
cases are used, never their models. A constant is switched off by the value at which it does nothing; a step without a
constant is left out. Each row says by how much a figure is *worse* without the correction, as the mean over the cases: PSNR
in dB; intervals of 50, 80 and 95 % in points off their nominal share; ratios (noise, edges) in their distance from 1. A
correction is worth its lines where it is worth more than its threshold in one figure at least.

Prints Markdown. Figures are kept in a file, answer by answer: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import lamella.metrics as metrics
from lamella.embedded import model as steps
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.noise_level import typical_scale
from lamella.errors import LamellaError
from lamella.evaluate.cases import Case, build_cases, plan_cases
from lamella.evaluate.reference import Reference, reference_of
from lamella.evaluate.settings import EvaluationSettings
from lamella.files.config import load
from lamella.models.shipped import find_model
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin

CONFIGS = (Path("configs/evaluate-calibration.yaml"), Path("configs/evaluate-fine-pixels.yaml"))
SPREAD, DRAWN = "spread", ("texture", "sample")
NOMINAL = (0.5, 0.8, 0.95)
THRESHOLDS = {"psnr_db": 0.02, "interval_pp": 1.0, "noise_in_plane": 0.02, "noise_along_z": 0.02, "roughness": 0.02,
              "stripes": 0.5}  # fmt: skip
"""A correction that is worth less than this in every figure is not worth its lines."""


@dataclass(frozen=True)
class Correction:
    """One correction: the modes it acts on, and what switches it off.

    Attributes:
        name: of the constant in the card, or of the step.
        modes: the modes whose figures it can change.
        constants: of the card, with the values that do nothing.
        left_out: functions of `lamella.embedded.model`, with what stands in their place.
    """

    name: str
    modes: tuple[Mode, ...]
    constants: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


def nothing(*_: Any, **__: Any) -> None:
    """A step that is left out."""


def even_level(prediction: Any, *_: Any) -> torch.Tensor:
    """One noise level for every slice: the median of the scale."""
    return typical_scale(prediction.log_scale).expand(prediction.mean.shape[1], 1, 1)


CORRECTIONS = (
    Correction("as shipped", ("mean", *DRAWN)),
    Correction("scale_limit_hu", ("mean", *DRAWN), {"scale_limit_hu": math.inf}),
    Correction("noise_share", ("mean", *DRAWN), {"noise_share": 1.0}),
    Correction("sample_temperature", ("sample",), {"sample_temperature": 1.0}),
    Correction("noise fit", ("mean", *DRAWN), left_out={"scale_to_noise": nothing}),
    Correction("noise levels per slice", DRAWN, left_out={"level_noise": even_level}),
    Correction("spectrum matching", DRAWN, left_out={"match_noise_texture": nothing}),
)


@contextmanager
def without(correction: Correction, model: EmbeddedModel) -> Iterator[EmbeddedModel]:
    """The model with a correction switched off."""
    with ExitStack() as stack:
        for name, instead in correction.left_out.items():
            stack.enter_context(patch.object(steps, name, instead))
        yield replace(model, calibration=replace(model.calibration, **correction.constants))


def cropped(case: Case, size_px: int) -> Case:
    """The middle of a case's plane; all of it where it is no larger."""
    kept = [slice(max(0, (n - size_px) // 2), max(0, (n - size_px) // 2) + size_px) for n in case.thick.hu.shape[1:]]
    thick = case.thick.part(slice(None), *kept)
    scan = case.scan.part(slice(0, case.scan.volume.hu.shape[0]), *kept)
    own, first_mm = case.grid, case.grid.centres_mm[0] - thick.geometry.centres_mm[0]
    grid = thick.geometry.with_slices(own.shape[0], own.spacing_mm, float(first_mm), own.thickness_mm)
    return replace(case, scan=scan, thick=thick, grid=grid)


def figures_of(case: Case, reference: Reference, model: EmbeddedModel, mode: Mode) -> dict[str, float | None]:
    """Every figure of one answer."""
    done = thin(case.thick, model, case.grid, ThinSettings(mode=mode, spread=mode == "mean", memory_gb=2.0))
    hu, truth, body = done.volume.hu[case.scored], case.scan.volume.hu, case.scan.masks["body"]
    spacing_mm, soft = case.scan.volume.geometry.spacing_mm, reference.tissue
    found = {
        "psnr_db": _measured(metrics.psnr_windowed, hu, truth, *metrics.PSNR_WINDOWS_HU[4095]),
        "rmse_body_hu": _measured(metrics.rmse_hu, hu, truth, body),
        "rmse_soft_hu": _measured(metrics.rmse_hu, hu, truth, soft),
        "roughness": _measured(metrics.edge_second_difference_ratio, hu, truth, spacing_mm, body),
    }
    if done.spread is not None:
        error = hu.astype(np.float32) - truth
        inside = metrics.coverage_curve(error, done.spread.hu[case.scored], NOMINAL, body)
        found |= {f"inside_{round(100 * share)}": 100 * one for share, one in zip(NOMINAL, inside, strict=True)}
    if mode != "mean" and reference.noise is not None:
        in_plane, along_z = metrics.noise_sd_in_plane(hu, soft), metrics.noise_sd_along_z(hu, soft)
        found |= {"noise_in_plane": in_plane / reference.noise[0], "noise_along_z": along_z / reference.noise[1]}
        levels, period_mm = metrics.noise_per_slice, case.thick.geometry.spacing_mm
        found["stripes"] = _measured(lambda: metrics.stripe_power_ratio(levels(hu, soft), spacing_mm, period_mm))
    return found


def _measured(metric: Callable[..., float], *arguments: Any) -> float | None:
    try:
        return metric(*arguments)
    except LamellaError:
        return None


def distances(figures: Mapping[str, float | None]) -> dict[str, float]:
    """How far from right each figure is that has a threshold; smaller is better."""
    found = {}
    if figures.get("psnr_db") is not None:
        found["psnr_db"] = -float(figures["psnr_db"] or 0)
    for name in ("noise_in_plane", "noise_along_z", "roughness"):
        if (value := figures.get(name)) is not None:
            found[name] = abs(value - 1)
    if (value := figures.get("stripes")) is not None:
        found["stripes"] = max(0.0, value - 1)
    off = [abs(value - 100 * share) for share in NOMINAL if (value := figures.get(f"inside_{round(100 * share)}"))]
    if off:
        found["interval_pp"] = float(np.mean(off))
    return found


def worth(kept: Mapping[str, Any], correction: Correction, mode: Mode) -> dict[str, float]:
    """By how much each figure is worse without a correction, mean over the cases that have it."""
    lost: dict[str, list[float]] = {}
    for case in kept.values():
        on, off = (distances(case[name][mode]) for name in (CORRECTIONS[0].name, correction.name))
        for name in on.keys() & off.keys():
            lost.setdefault(name, []).append(off[name] - on[name])
    return {name: float(np.mean(lost[name])) for name in THRESHOLDS if name in lost}


def table(kept: Mapping[str, Any]) -> str:
    """Markdown: a row a correction and mode."""
    names = list(THRESHOLDS)
    lines = [f"| without | mode | {' | '.join(names)} | worth its lines |", "|---" * (len(names) + 3) + "|"]
    for correction in CORRECTIONS[1:]:
        for mode in correction.modes:
            lost = worth(kept, correction, mode)
            cells = [f"{lost[name]:+.3f}" if name in lost else "" for name in names]
            verdict = "yes" if any(lost[name] > THRESHOLDS[name] for name in lost) else "no"
            lines.append(f"| {correction.name} | {mode} | {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def every_figure(kept: Mapping[str, Any]) -> str:
    """Markdown: the figures as shipped, case by case."""
    lines = ["| case | mode | figures as shipped |", "|---|---|---|"]
    for title, case in kept.items():
        for mode, figures in case[CORRECTIONS[0].name].items():
            shown = ", ".join(f"{name} {value:.3g}" for name, value in figures.items() if value is not None)
            lines.append(f"| {title} | {mode} | {shown} |")
    return "\n".join(lines)


def main() -> int:
    """Measure what is not kept yet, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", type=Path, default=list(CONFIGS))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--crop-px", type=int, default=160, help="side of the part of the plane that is restored")
    parser.add_argument("--kept", type=Path, default=Path("corrections.json"))
    asked = parser.parse_args()
    model = EmbeddedModel.read(find_model(asked.model))
    whole = json.loads(asked.kept.read_text(encoding="utf-8")) if asked.kept.exists() else {}
    kept = whole.setdefault(f"{model.sha256} {model.calibration} {asked.crop_px}", {})
    for config in asked.configs:
        settings = load(EvaluationSettings, config, ())
        planned = [one for one in plan_cases(settings) if len(kept.get(one.title, {})) < len(CORRECTIONS)]
        for one, case in build_cases(planned, settings):
            if isinstance(case, Exception):
                raise case
            case = cropped(case, asked.crop_px)
            reference = reference_of(case)
            for correction in CORRECTIONS:
                if correction.name not in kept.get(one.title, {}):
                    with without(correction, model) as changed:
                        found = {mode: figures_of(case, reference, changed, mode) for mode in correction.modes}
                    kept.setdefault(one.title, {})[correction.name] = found
                    asked.kept.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    print(f"{model.name}, SHA-256 {model.sha256[:12]}\n\n{table(kept)}\n\n{every_figure(kept)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
