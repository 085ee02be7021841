"""A batch beside single runs, how workers share the cores, and the memory over many studies.

    python benchmarks/cohort.py [single] [workers] [memory] [--slices 6] [--size 64] [--json FILE]

single   twelve small studies by twelve runs of `lamella thin`, and by one `lamella batch`: the batch may take 0.7 of it
workers  the same studies by one worker with all cores, two that share them, and two that each take all
memory   a batch of a hundred studies: the resident sizes of its processes after each, the last ten at most 5 % above the
         second ten
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import speed_parts

STUDIES, MANY = 12, 100
SHARE, GROWTH = 0.7, 1.05


def build(folder: Path, count: int, slices: int, size: int) -> None:
    """Studies of 5 mm slices of one phantom, each with UIDs of its own."""
    from pydicom import dcmread

    speed_parts.build(folder.parent / "phantom", 5 * slices, size, min(2.8, 180.0 / size))
    for number in range(1, count + 1):
        study = folder / f"{number:03d}"
        study.mkdir(parents=True)
        for file in sorted((folder.parent / "phantom").rglob("*.dcm")):
            dataset = dcmread(file)
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                dataset[keyword].value = f"{dataset[keyword].value[:50]}.{number}"
            dataset.SOPInstanceUID += f".{dataset.InstanceNumber}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(study / file.name)


def run(words: list[Any], threads: int | None = None) -> float:
    """Wall seconds of a command of Lamella."""
    environment = {**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lamella", *map(str, words), "--quiet"], env=environment, check=True)
    return time.perf_counter() - began


def single(root: Path, slices: int, size: int) -> dict[str, float]:
    build(root / "in", STUDIES, slices, size)
    folders = sorted((root / "in").iterdir())
    singles = sum(run(["thin", one, root / "single" / one.name]) for one in folders)
    batch = run(["batch", root / "in", root / "batch"])
    return {"single_s": singles, "batch_s": batch, "share": batch / singles}


def workers(root: Path, slices: int, size: int) -> dict[str, float]:
    build(root / "in", STUDIES, slices, size)
    cores = len(os.sched_getaffinity(0))
    return {
        "one_worker_s": run(["batch", root / "in", root / "one"]),
        "two_that_share_s": run(["batch", root / "in", root / "share", "--workers", 2]),
        "two_of_all_cores_s": run(["batch", root / "in", root / "all", "--workers", 2], threads=cores),
    }


def memory(root: Path, slices: int, size: int, count: int = MANY) -> dict[str, float]:
    """Resident bytes of batch and worker together, when each case ends."""
    build(root / "in", count, slices, size)
    words = [sys.executable, "-m", "lamella", "batch", str(root / "in"), str(root / "out")]
    sizes = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as batch:
        assert batch.stdout is not None
        for line in batch.stdout:
            if line.partition(" ")[0].endswith(f"/{count}"):
                tree = [psutil.Process(batch.pid), *psutil.Process(batch.pid).children(recursive=True)]
                sizes.append(sum(one.memory_info().rss for one in tree))
    assert batch.returncode == 0
    tenth = count // 10
    second, last = statistics.mean(sizes[tenth : 2 * tenth]), statistics.mean(sizes[-tenth:])
    return {"second_ten_mb": second / 1e6, "last_ten_mb": last / 1e6, "growth": last / second}


PARTS = {"single": single, "workers": workers, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="single, workers, memory; all if not given")
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = {}
    for name in asked.what or PARTS:
        part = PARTS[name]
        with tempfile.TemporaryDirectory() as folder:
            found[name] = part(Path(folder), asked.slices, asked.size)
        print(name, *(f"{key} {value:.3g}" for key, value in found[name].items()), flush=True)
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    missed = found.get("single", {}).get("share", 0) > SHARE or found.get("memory", {}).get("growth", 0) > GROWTH
    sys.exit("a target is missed" if missed else 0)


if __name__ == "__main__":
    main()
