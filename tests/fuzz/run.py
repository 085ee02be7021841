"""Runs fuzz targets for long: `python -m tests.fuzz.run [--runs N] [--folder FOLDER] [NAME ...]`.

What was found interesting stays in FOLDER, and so does the number of executions since the last finding: a later call goes
on from there. An input that crashes the reader, takes more than 10 s or 1 GiB is kept in FOLDER/findings and ends the run.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("dicom", "folder", "zip", "nifti")
ROOT = Path(__file__).parents[2]

MEMORY = Path("/dev/shm")
"""A disk in memory, where there is one."""

LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=16384")
PORTION = 10_000
"""Executions between two notes of how many are done."""

FRESH = ("sh", "-c", '"$@"; exit $?', "sh")
"""Through a shell: Linux counts the peak memory of whoever starts a program as that program's own, for libFuzzer's limit."""

_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
_SEEDS = shutil.ignore_patterns("seeds")
_TAIL = 6000


def fuzz(name: str, runs: int, folder: Path, *more: str) -> tuple[int, str]:
    """Executes one target so many times.

    Args:
        name: of the target.
        runs: executions at most.
        folder: for the corpus and the findings.
        more: further arguments of libFuzzer.

    Returns:
        (executions, what libFuzzer said at the end if it found something, else empty).
    """
    corpus, findings = folder / name, folder / "findings"
    for one in (corpus, findings):
        one.mkdir(parents=True, exist_ok=True)
    words = (
        *LIMITS,
        f"-runs={runs}",
        "-print_final_stats=1",
        f"-artifact_prefix={findings}/{name}-",
        *more,
        str(corpus),
    )
    with tempfile.TemporaryDirectory(prefix="lamella-fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        done = subprocess.run(
            [*FRESH, sys.executable, "-m", "tests.fuzz.one_target", name, scratch, *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:  # the files as they were read last, for `lamella inspect`
            shutil.copytree(scratch, findings / f"{name}-source", ignore=_SEEDS, dirs_exist_ok=True)
    executed = _EXECUTED.search(done.stdout)
    said = f"{done.stdout[-_TAIL:]}\nexit status {done.returncode}" if done.returncode else ""
    return int(executed[1]) if executed else 0, said


def campaign(name: str, runs: int, folder: Path) -> bool:
    """Executes a target until it has been so many times without a finding; whether it was."""
    note = folder / f"{name}.count"
    count = int(note.read_text()) if note.exists() else 0
    while count < runs:
        executed, finding = fuzz(name, min(PORTION, runs - count), folder)
        count = 0 if finding else count + executed
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(str(count))
        print(f"{name}: {count:,} of {runs:,} executions without a finding", flush=True)
        if finding:
            print(finding, f"\nThe input is in {folder / 'findings'}.", flush=True)
            return False
    return True


def main() -> int:
    """0 where every target was executed often enough without a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=ROOT / ".fuzz")
    given = parser.parse_args()
    passed = [campaign(name, given.runs, given.folder.resolve()) for name in given.names or NAMES]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
