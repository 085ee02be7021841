"""A blinded test without readers: how often a small classifier tells each method's results from real thin scans.

    lamella evaluate configs/evaluate-blinded.yaml
    python benchmarks/blinded.py results/blinded results/embedded

The classifiers learn on the volumes that the first evaluation kept and are judged on those of the second, method by method. The
answer goes to blinded.json in the second folder, where `lamella report` finds it. The same seed gives the same answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import lamella
import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.blinded import Sight, judged, trained_judge
from lamella.nifti.image import read_nifti
from lamella.results.evidence import BlindedTest, Judged
from lamella.results.files import BLINDED, read_results, write_json
from lamella.results.schema import Results

THREADS = 1
"""Batches are small: more threads wait for each other, and sums come in another order."""


def methods_in_both(learned: Results, shown: Results) -> list[str]:
    """Methods whose volumes both evaluations kept, in the order of the second's tables.

    Raises:
        LamellaError: there is none.
    """
    kept = [
        {name for case in found.cases if case.volumes.truth for name in case.volumes.methods}
        for found in (learned, shown)
    ]
    both = [one.name for one in shown.methods if one.name in kept[0] & kept[1]]
    if not both:
        raise LamellaError(
            "No method has volumes in both evaluations. Found {} and {}. Set `volumes` in their configs.".format(
                *(", ".join(sorted(names)) or "none" for names in kept)
            )
        )
    return both


def sights(folder: Path, found: Results, method: str) -> Iterator[Sight]:
    """The cases of an evaluation in which a method's volume was kept."""
    for case in found.cases:
        if case.volumes.truth and method in case.volumes.methods:
            truth = read_nifti(folder / case.volumes.truth)
            result = read_nifti(folder / case.volumes.methods[method])
            voxel_mm = (truth.geometry.spacing_mm, *truth.geometry.pixel_mm)
            yield Sight(case.group, truth.hu, result.hu, metrics.body_mask(truth.hu), voxel_mm)


def blinded(learned: Path, shown: Path, points: int = 3000, epochs: int = 8, seed: int = 0) -> BlindedTest:
    """The whole test.

    Args:
        learned: folder of the evaluation that the classifiers learn on.
        shown: folder of the one that they are judged on.
        points: places, in each of them.
        epochs: how often each place is learned from.
        seed: of places, weights and order.

    Raises:
        LamellaError: no method has volumes in both, or a person of the one is in the other.
    """
    start = time.perf_counter()
    (from_folder, school), (folder, exam) = read_results(learned), read_results(shown)
    both = sorted({case.group for case in school.cases} & {case.group for case in exam.cases})
    if both:
        raise LamellaError(f"A judge may not have seen what it judges. Found in both evaluations: {', '.join(both)}.")
    answers: list[Judged] = []
    for method in methods_in_both(school, exam):
        judge = trained_judge(list(sights(from_folder, school, method)), points, epochs, seed)
        answers.append(judged(method, judge, list(sights(folder, exam, method)), points, seed))
        one = answers[-1]
        print(f"{method:24} side by side {one.side_by_side:.1%}, alone {one.alone:.1%}", flush=True)
    titles = tuple(case.title for case in school.cases)
    seconds = round(time.perf_counter() - start, 1)
    return BlindedTest(lamella.__version__, titles, points, epochs, seed, seconds, tuple(answers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learned", type=Path, help="folder of the evaluation of scans to learn on")
    parser.add_argument("shown", type=Path, help="folder of the evaluation to judge")
    parser.add_argument("--points", type=int, default=3000, help="places in each (default 3000)")
    parser.add_argument("--epochs", type=int, default=8, help="how often each is learned from (default 8)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    write_json(asked.shown / BLINDED, blinded(asked.learned, asked.shown, asked.points, asked.epochs, asked.seed))


if __name__ == "__main__":
    main()
