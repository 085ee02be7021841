"""What the embedded model's figures must reach, and whether they do. Set before measuring.

    lamella evaluate configs/evaluate.yaml
    python benchmarks/targets.py results/embedded

A figure that could not be measured is named, and counts neither as met nor as missed. Exit code 0 when every target is
measured and met, else 1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.results.compared import Gain
from lamella.results.files import RESULTS, read_results
from lamella.results.schema import CaseRecord, Results

MIN_GAIN_DB = {(5.0, 5.0): 2.2, (3.0, 3.0): 1.8, (5.0, 2.5): 3.5, (5.0, 7.0): 1.5}
"""(thickness, spacing) in mm -> least gain in PSNR of `mean` over the aligned cubic spline."""

BASELINES = ("baseline", "projected")


@dataclass(frozen=True)
class Target:
    """One line of the verdict: what was measured, on what, the figure, what was demanded; None where it is not there."""

    what: str
    where: str
    found: str
    demanded: str
    passed: bool | None


def judge(
    what: str, where: str, value: float | None, low: float | None = None, high: float | None = None, unit: str = ""
) -> list[Target]:
    """One target with bounds."""
    demanded = " and ".join(f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None)
    if value is None:
        return [Target(what, where, "not measured", demanded + unit, None)]
    passed = (low is None or value >= low) and (high is None or value <= high)
    return [Target(what, where, f"{value:.3g}{unit}", demanded + unit, passed)]


def below_baselines(case: CaseRecord, kinds: dict[str, str], figure: str) -> list[Target]:
    """The mean's figure must lie below that of every interpolation."""
    rows = case.figures
    value = rows["mean"].get(figure)
    limits = [rows[name].get(figure) for name in rows if kinds[name] in BASELINES]
    if value is None or None in limits:
        return [Target(f"mean: {figure}", case.title, "not measured", "below interpolation", None)]
    limit = min(limits)
    return [Target(f"mean: {figure}", case.title, f"{value:.2f}", f"< {limit:.2f} (best interpolation)", value < limit)]


def gain_over_cubic(results: Results, case: str, method: str) -> Gain:
    """The gain in PSNR of a method over the aligned cubic spline in a case."""
    found = results.gain(case, method, "cubic")
    if found is None:
        raise SystemExit(f"{case}: there is no gain of {method} over cubic. Evaluate with both.")
    return found


def targets_of_case(results: Results, case: CaseRecord) -> list[Target]:
    """The targets of one case."""
    kinds: dict[str, str] = {one.name: one.kind for one in results.methods}
    where, rows, title = case.id, case.figures, case.title
    key = (case.thick.thickness_mm, case.thick.spacing_mm)
    least = 1.0 if case.kind == "pair" else MIN_GAIN_DB.get(key, 0.0)
    judged = judge(
        "mean: PSNR over cubic", title, gain_over_cubic(results, where, "mean").difference, low=least, unit=" dB"
    )
    for figure in ("rmse_body_hu", "rmse_lung_hu", "rmse_soft_hu", "rmse_bone_hu", "gradient_error_z"):
        judged += below_baselines(case, kinds, figure)
    judged += judge("mean: best shift", title, rows["mean"]["best_shift_mm"], low=-0.1, high=0.1, unit=" mm")
    width = 12 if case.kind == "pair" else 5
    for nominal in (50, 80, 95):
        found = rows["mean"].get(f"coverage_{nominal}")
        judged += judge(
            f"mean: coverage {nominal} %", title, found, low=nominal - width, high=nominal + width, unit=" %"
        )
    judged += judge("mean: error detection", title, rows["mean"]["error_detection_auc"], low=0.75)
    below = rows["mean"]["psnr_4095_db"]
    for name, most in (("texture", 0.4), *((n, 0.6) for n in rows if n.startswith("mean of"))):
        judged += judge(f"{name}: PSNR below mean", title, below - rows[name]["psnr_4095_db"], high=most, unit=" dB")
    for mode in ("texture", "sample"):
        for figure in ("noise_in_plane_ratio", "noise_along_z_ratio"):
            judged += judge(f"{mode}: {figure}", title, rows[mode].get(figure), low=0.9, high=1.1)
    judged += judge("sample: edge roughness", title, rows["sample"]["edge_roughness_ratio"], high=1.2)
    judged += densitometry(rows, title)
    if case.thick.thickness_mm == case.thick.spacing_mm:
        for mode in ("mean", "texture", "sample"):
            judged += judge(f"{mode}: consistency", title, rows[mode]["consistency_rmse_hu"], high=0.5, unit=" HU")
    return judged


def densitometry(rows: dict[str, Any], title: str) -> list[Target]:
    """The bias of texture and sample in densitometry is at most a quarter of the cubic spline's."""
    judged = []
    for figure in ("laa_950_bias_pp", "histogram_distance_lung_hu"):
        limit = rows["cubic"].get(figure)
        for mode in ("texture", "sample"):
            found = rows[mode].get(figure)
            if limit is None or found is None:
                judged.append(Target(f"{mode}: {figure}", title, "not measured", "a quarter of cubic's", None))
            else:
                judged += judge(f"{mode}: {figure}", title, abs(found), high=abs(limit) / 4)
    return judged


def print_targets(judged: list[Target]) -> None:
    """The verdict, one line a target."""
    for target in judged:
        verdict = {True: "PASS", False: "FAIL", None: "NONE"}[target.passed]
        print(f"{verdict}  {target.what:36s} {target.found:>12s}   {target.demanded:30s} {target.where}")
    measured = [target for target in judged if target.passed is not None]
    print(f"{sum(target.passed for target in measured)} of {len(measured)} targets met")
    if len(measured) < len(judged):
        print(f"{len(judged) - len(measured)} could not be measured: `absent` in results.json says why")


def main() -> int:
    """Print the verdict, one line a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the evaluation")
    folder = parser.parse_args().results
    if not (folder / RESULTS).is_file():
        parser.error(f"{folder / RESULTS} does not exist. Run first: lamella evaluate configs/evaluate.yaml")
    _, results = read_results(folder)
    scans = [case for case in results.cases if case.kind != "phantom"]
    judged = [target for case in scans for target in targets_of_case(results, case)]
    print_targets(judged)
    return 0 if all(target.passed for target in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
