"""Time and memory of the installed command, DICOM to DICOM, on two cores; `make bench`.

    python benchmarks/speed.py [--runs 3] [--modes mean,sample] [--json out.json]

Makes a chest phantom of 55 x 512 x 512 (5 mm every 5 mm) as DICOM once, in a folder that later runs reuse, and runs
`lamella thin` on it to 275 slices of 1 mm; beside it, in the same run, cubic interpolation along z and SimpleITK's B-spline
of the same volume. Then 20 to 200 thick slices of a small plane: does time grow with them and no faster? Exit code 0 when
every target is met, else 1. How each figure is made: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speed_parts import CORES, positions_mm, timed
from targets import Target, judge, print_targets

MAX_SECONDS = {"mean": 45.0, "sample": 120.0}
MAX_BYTES = 3e9
MAX_HELP_SECONDS = 0.5
MAX_OFF_MM = 0.001
LARGE = (55, 512, 0.7)
"""Thick slices, rows and columns, and pixel size in mm of the phantom."""
SMALL = (50, 96, 3.0)
"""For the count of slices: 50 thick ones, asked for 300."""
GROWING = ((20, 192, 1.8), (50, 192, 1.8), (100, 192, 1.8), (200, 192, 1.8))
MAX_GROWTH = 1.15
"""Seconds a slice beyond the first 20, of 200 slices over those of 100; 1 is linear."""
THINNER = 5
"""Thin slices a thick one."""

PARTS = Path(__file__).with_name("speed_parts.py")


def off_contract_mm(study: Path, answer: Path, count: int) -> float:
    """Largest distance of a written slice from z_0 - S/2 + (i + 0.5) s, s = n S / count; infinite on a wrong count."""
    thick, thin = positions_mm(study), positions_mm(answer)
    if len(thin) != count:
        return float("inf")
    step_mm = (thick[-1] - thick[0]) / (len(thick) - 1)
    thin_step_mm = len(thick) * step_mm / count
    expected = (thick[0] - step_mm / 2 + (i + 0.5) * thin_step_mm for i in range(count))
    return max(abs(found - wanted) for found, wanted in zip(thin, expected, strict=True))


def measure_thin(command: str, study: Path, work: Path, options: list[str], count: int) -> dict[str, Any]:
    """One `lamella thin`: seconds, peak, distance from the positions promised, and its own report."""
    answer, report = work / "thin", work / "report.json"
    run = timed([command, "thin", str(study), str(answer), "--report", str(report), *options])
    figures = {
        "seconds": run.seconds,
        "peak_bytes": run.peak_bytes,
        "off_mm": off_contract_mm(study, answer, count),
        "report": json.loads(report.read_text()),
    }
    shutil.rmtree(answer)
    report.unlink()
    return figures


def study_of(cache: Path, shape: tuple[int, int, float]) -> Path:
    """A thick study of that shape, made in a process of its own: its memory must not count for the command's."""
    cache.mkdir(parents=True, exist_ok=True)
    slices, size, pixel_mm = shape
    study = cache / f"{slices}x{size}x{size}"
    if not study.exists():
        print(f"making {study}", flush=True)
        timed([sys.executable, str(PARTS), "build", str(study), str(THINNER * slices), str(size), str(pixel_mm)])
    return study


def measure_spline(kind: str, study: Path, runs: int) -> dict[str, float]:
    """A spline of the study to 1 mm: median seconds of the whole process (nothing written) and of the resampling."""
    whole = [timed([sys.executable, str(PARTS), kind, str(study)]) for _ in range(runs)]
    alone = [json.loads(run.printed.splitlines()[-1])["seconds"] for run in whole]
    return {
        "seconds": statistics.median(run.seconds for run in whole),
        "interpolation_seconds": statistics.median(alone),
        "peak_bytes": max(run.peak_bytes for run in whole),
    }


def measure_modes(
    command: str, modes: list[str], study: Path, work: Path, runs: int, extra: list[str]
) -> tuple[dict[str, Any], list[Target]]:
    """Each mode on the large study; the runs of all modes take turns, so that a slow minute of the machine hits all."""
    thin = THINNER * LARGE[0]
    found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
    for _ in range(runs):
        for mode in modes:
            options = ["--mode", mode, "--spacing-mm", "1.0", *extra]
            found[mode].append(measure_thin(command, study, work, options, thin))
    figures: dict[str, Any] = {}
    judged: list[Target] = []
    where = f"{LARGE[0]} -> {thin} x {LARGE[1]} x {LARGE[1]}, median of {runs}"
    for mode, all_runs in found.items():
        figures[mode] = one = {
            "seconds": statistics.median(run["seconds"] for run in all_runs),
            "peak_bytes": max(run["peak_bytes"] for run in all_runs),
            "off_mm": max(run["off_mm"] for run in all_runs),
            "steps": all_runs[0]["report"]["settings"]["steps"],
            "runs": all_runs,
        }
        most = MAX_SECONDS.get(mode, MAX_SECONDS["sample"])
        judged += judge(f"{mode}: whole command", where, one["seconds"], high=most, unit=" s")
        judged += judge(f"{mode}: peak memory", "largest", one["peak_bytes"] / 1e9, high=MAX_BYTES / 1e9, unit=" GB")
        judged += judge(f"{mode}: positions off", "written files", one["off_mm"], high=MAX_OFF_MM, unit=" mm")
        stages = all_runs[0]["report"]["seconds"]
        print(f"{mode}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in stages.items()), flush=True)
    return figures, judged


def measure_growth(
    command: str, cache: Path, work: Path, runs: int, extra: list[str]
) -> tuple[list[dict[str, Any]], list[Target]]:
    """Mode mean on more and more slices."""
    rows = []
    for shape in GROWING:
        study = study_of(cache, shape)
        options = ["--spacing-mm", "1.0", *extra]
        all_runs = [measure_thin(command, study, work, options, THINNER * shape[0]) for _ in range(runs)]
        seconds = statistics.median(run["seconds"] for run in all_runs)
        rows.append({"slices": shape[0], "seconds": seconds, "peak_bytes": max(run["peak_bytes"] for run in all_runs)})
        print(f"{shape[0]} thick slices: {seconds:.1f} s, {rows[-1]['peak_bytes'] / 1e9:.2f} GB", flush=True)
    first, *_, half, last = rows
    a_slice = [(r["seconds"] - first["seconds"]) / (r["slices"] - first["slices"]) for r in (half, last)]
    where = f"{GROWING[0][0]}, {GROWING[-2][0]} and {GROWING[-1][0]} slices"
    return rows, judge("mean: growth, 1 is linear", where, a_slice[1] / a_slice[0], high=MAX_GROWTH)


def measure(
    command: str, modes: list[str], runs: int, cache: Path, extra: list[str]
) -> tuple[dict[str, Any], list[Target]]:
    """Everything, in order of cost; returns the figures and the verdict."""
    helps = [timed([command, "--help"]).seconds for _ in range(max(runs, 5))]
    figures: dict[str, Any] = {"cores": CORES, "help_seconds": statistics.median(helps)}
    judged = judge("lamella --help", "median", figures["help_seconds"], high=MAX_HELP_SECONDS, unit=" s")
    large, small = study_of(cache, LARGE), study_of(cache, SMALL)
    for kind, label in (("cubic", "cubic along z"), ("bspline", "SimpleITK B-spline")):
        figures[kind] = one = measure_spline(kind, large, runs)
        print(f"{label}: {one['interpolation_seconds']:.1f} s; with reading, {one['seconds']:.1f} s", flush=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        work = Path(folder)
        figures["count"] = count = measure_thin(command, small, work, ["--slices", "300", *extra], 300)
        judged += judge("50 slices to 300, off by", "written files", count["off_mm"], high=MAX_OFF_MM, unit=" mm")
        more, verdict = measure_modes(command, modes, large, work, runs, extra)
        figures |= more
        judged += verdict
        figures["growth"], verdict = measure_growth(command, cache, work, runs, extra)
        judged += verdict
    figures["over_bspline"] = {m: figures[m]["seconds"] / figures["bspline"]["seconds"] for m in modes}
    for mode, ratio in figures["over_bspline"].items():
        print(f"{mode}: {ratio:.1f} times SimpleITK's B-spline, read and resampled, nothing written", flush=True)
    return figures, judged


def installed_command() -> str:
    """`lamella` beside the running Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("lamella")
    found = str(beside) if beside.exists() else shutil.which("lamella")
    if found is None:
        raise SystemExit("The command lamella is not installed. Run `make demo` or `pip install -e .` first.")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each command; times are medians, peaks the largest")
    parser.add_argument("--modes", default="mean,sample", help="any of mean, texture, sample")
    parser.add_argument("--model", help="model name or folder, passed on to the command")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "lamella-speed")
    parser.add_argument("--json", type=Path, help="write every figure here")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    extra = ["--model", asked.model] if asked.model else []
    figures, judged = measure(installed_command(), asked.modes.split(","), asked.runs, asked.cache, extra)
    print_targets(judged)
    if asked.json:
        figures["targets"] = [asdict(target) for target in judged]
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(target.passed for target in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
