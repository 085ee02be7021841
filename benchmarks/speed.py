"""Time and memory of the installed command, DICOM to DICOM, on two cores.

    python benchmarks/speed.py [--runs 3] [--modes mean,sample] [--json out.json]

Makes a chest phantom of 55 x 512 x 512 (5 mm every 5 mm) as DICOM once, in a folder that later runs reuse, and runs
`lamella thin` on it to 275 slices of 1 mm; beside it, the cubic spline alone on the same volume. Exit code 0 when every
target is met, else 1. How each figure is made: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from targets import Target, judge, print_targets

CORES = 2
MAX_SECONDS = {"mean": 90.0, "sample": 300.0}
MAX_BYTES = 4e9
MAX_HELP_SECONDS = 0.5
MAX_OFF_MM = 0.001
LARGE = (275, 512, 0.7)
"""Slices, rows and columns, and pixel size in mm of the phantom; thickened five times."""
SMALL = (250, 96, 3.0)
"""For the count of slices: 50 thick ones, asked for 300."""


@dataclass(frozen=True)
class Run:
    """One finished command: wall seconds, largest resident set of the process in bytes, what it printed."""

    seconds: float
    peak_bytes: int
    printed: str


def timed(command: list[str]) -> Run:
    """Run a command to its end. The peak is that of this child alone (wait4), not of all children so far."""
    with tempfile.TemporaryFile("w+") as printed:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if child.returncode != 0:
        raise SystemExit(f"Exit code {child.returncode} from: {' '.join(command)}\n{text[-4000:]}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_maxrss * kilobyte, text)


def build(folder: Path, slices: int, size: int, pixel_mm: float) -> None:
    """Paint the thin phantom, average it to 5 mm slices, write them; the folder appears only when it is whole."""
    import numpy as np
    import torch

    from lamella.data.phantom import PhantomSettings, thorax_phantom, write_phantom_study
    from lamella.slices import SliceOperator, thick_grid
    from lamella.volume import Volume

    thin = thorax_phantom(PhantomSettings(shape=(slices, size, size), spacing_mm=1.0, pixel_mm=pixel_mm))
    thick = thick_grid(thin.geometry, 5.0, 5.0)
    averages = SliceOperator.between(thin.geometry, thick).blur(torch.from_numpy(thin.hu.astype(np.float32)))
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        write_phantom_study(Path(unfinished) / "study", Volume(averages.numpy(), thick))
        os.replace(Path(unfinished) / "study", folder)


def cubic(study: Path) -> None:
    """The baseline: read the study, interpolate it to 1 mm, print the seconds of the interpolation alone."""
    import numpy as np

    from lamella.dicom import read_series
    from lamella.metrics import aligned_cubic

    volume = read_series(study)
    centres_mm, step_mm = volume.geometry.centres_mm, volume.geometry.spacing_mm
    thin_mm = centres_mm[0] - step_mm / 2 + np.arange(round(len(centres_mm) * step_mm)) + 0.5
    start = time.perf_counter()
    thin = aligned_cubic(volume.hu, centres_mm, thin_mm)
    print(json.dumps({"seconds": time.perf_counter() - start, "slices": len(thin)}))


def positions_mm(folder: Path) -> list[float]:
    """Positions of the slices of a DICOM folder along their common normal, rising, straight from the files."""
    import numpy as np
    import pydicom

    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in folder.rglob("*") if file.is_file()]
    row, column = np.array(headers[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(row, column)
    return sorted(float(normal @ np.array(header.ImagePositionPatient, dtype=float)) for header in headers)


def off_contract_mm(study: Path, answer: Path, count: int) -> float:
    """Largest distance of a written slice from z_0 - S/2 + (i + 0.5) s, s = n S / count; infinite on a wrong count."""
    thick, thin = positions_mm(study), positions_mm(answer)
    if len(thin) != count:
        return float("inf")
    step_mm = (thick[-1] - thick[0]) / (len(thick) - 1)
    thin_step_mm = len(thick) * step_mm / count
    expected = (thick[0] - step_mm / 2 + (i + 0.5) * thin_step_mm for i in range(count))
    return max(abs(found - wanted) for found, wanted in zip(thin, expected, strict=True))


def measure_thin(command: str, study: Path, work: Path, options: list[str], count: int) -> dict:
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


def prepare(cache: Path) -> tuple[Path, Path]:
    """The two studies, made in a process of their own: its memory must not count for the command's."""
    cache.mkdir(parents=True, exist_ok=True)
    studies = cache / "55x512x512", cache / "50x96x96"
    for study, (slices, size, pixel_mm) in zip(studies, (LARGE, SMALL), strict=True):
        if not study.exists():
            print(f"making {study}", flush=True)
            timed([sys.executable, __file__, "--build", str(study), str(slices), str(size), str(pixel_mm)])
    return studies


def measure(command: str, modes: list[str], runs: int, cache: Path, extra: list[str]) -> tuple[dict, list[Target]]:
    """Everything, in order of cost; returns the figures and the verdict."""
    study, small = prepare(cache)
    helps = [timed([command, "--help"]).seconds for _ in range(max(runs, 5))]
    figures: dict = {"cores": CORES, "help_seconds": statistics.median(helps)}
    judged = judge("lamella --help", "median", figures["help_seconds"], high=MAX_HELP_SECONDS, unit=" s")
    whole = [timed([sys.executable, __file__, "--cubic", str(study)]) for _ in range(runs)]
    alone = [json.loads(run.printed.splitlines()[-1])["seconds"] for run in whole]
    figures["cubic"] = {
        "seconds": statistics.median(run.seconds for run in whole),
        "interpolation_seconds": statistics.median(alone),
        "peak_bytes": max(run.peak_bytes for run in whole),
    }
    print(
        f"cubic spline, read and interpolate, nothing written: {figures['cubic']['seconds']:.1f} s, of which "
        f"interpolation {figures['cubic']['interpolation_seconds']:.1f} s",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        work = Path(folder)
        count = measure_thin(command, small, work, ["--slices", "300", *extra], 300)
        figures["count"] = count
        judged += judge(
            "50 slices, --slices 300: all there, off by", "written files", count["off_mm"], high=MAX_OFF_MM, unit=" mm"
        )
        for mode in modes:
            options = ["--mode", mode, "--spacing-mm", "1.0", *extra]
            options += [] if mode == "mean" else ["--steps", "8"]
            all_runs = [measure_thin(command, study, work, options, LARGE[0]) for _ in range(runs)]
            found = figures[mode] = {
                "seconds": statistics.median(run["seconds"] for run in all_runs),
                "peak_bytes": max(run["peak_bytes"] for run in all_runs),
                "off_mm": max(run["off_mm"] for run in all_runs),
                "runs": all_runs,
            }
            where = f"55 -> 275 x 512 x 512, median of {runs}"
            judged += judge(
                f"{mode}: whole command", where, found["seconds"], high=MAX_SECONDS.get(mode, 300.0), unit=" s"
            )
            judged += judge(
                f"{mode}: peak memory", "largest", found["peak_bytes"] / 1e9, high=MAX_BYTES / 1e9, unit=" GB"
            )
            judged += judge(f"{mode}: positions off", "written files", found["off_mm"], high=MAX_OFF_MM, unit=" mm")
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
    parser.add_argument("--build", nargs=4, metavar=("FOLDER", "SLICES", "SIZE", "PIXEL_MM"), help=argparse.SUPPRESS)
    parser.add_argument("--cubic", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    if asked.build:
        folder, slices, size, pixel_mm = asked.build
        build(Path(folder), int(slices), int(size), float(pixel_mm))
        return 0
    if asked.cubic:
        cubic(asked.cubic)
        return 0
    extra = ["--model", asked.model] if asked.model else []
    figures, judged = measure(installed_command(), asked.modes.split(","), asked.runs, asked.cache, extra)
    print_targets(judged)
    if asked.json:
        figures["targets"] = [asdict(target) for target in judged]
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if all(target.passed for target in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
