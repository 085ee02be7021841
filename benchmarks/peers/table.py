"""The page of other tools, from what an evaluation measured and from their records.

    python benchmarks/peers/table.py benchmarks/peers/peers.yaml docs/peers.md RESULTS [RESULTS]

RESULTS is what `lamella evaluate` wrote with the tools' results in `outside_folder`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lamella.files.atomic import staged_file
from lamella.metrics.tables import best_methods, heading, markdown_table
from lamella.results.files import read_results
from lamella.results.schema import CaseRecord, Results

QUALITY = (
    "psnr_4095_db",
    "psnr_body_db",
    "rmse_body_hu",
    "rmse_lung_hu",
    "rmse_soft_hu",
    "rmse_bone_hu",
    "rmse_vessel_hu",
)
TASKS = (
    "vessel_found",
    "vessel_precision",
    "vessel_small_found",
    "bone_250_mean_mm",
    "bone_500_mean_mm",
    "laa_950_bias_pp",
    "noise_in_plane_ratio",
    "noise_along_z_ratio",
    "consistency_rmse_hu",
    "best_shift_mm",
)

HEAD = """# Beside other tools

<!-- Written by benchmarks/peers/table.py from results.json and the tools' records; do not edit by hand. -->

Every tool got the same thick slices and ran as a process of its own, in an environment with pinned packages. Its result
was handed in as a file and measured as Lamella's is. `benchmarks/peers/README.md` says how to
repeat it.

- **Equal time.** Networks of papers are written anew from the papers, smaller, and trained for the processor time that
  their record says, on the scans that Lamella learns from. The shipped model of Lamella trained for hours on two cores.
  So the table does not rank the papers' methods: with more time they would be better.
- **Seconds** are wall time of the whole command of a tool, on a computer with other work; processor time is the fairer
  figure. Lamella's seconds are those of the computation alone.
- **Thickness.** Lamella and ECLARE are told how thick the slices are. The networks of papers are made for slices that
  abut. Resampling does not ask.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=Path, help="peers.yaml: what each tool is")
    parser.add_argument("page", type=Path)
    parser.add_argument("results", type=Path, nargs="+", help="what lamella evaluate wrote, of other cases each")
    asked = parser.parse_args()
    found = [read_results(one)[1] for one in asked.results]
    peers = yaml.safe_load(asked.peers.read_text(encoding="utf-8"))["peers"]
    with staged_file(asked.page, overwrite=True) as file:
        file.write_text(page(found, peers), encoding="utf-8")
    return 0


def page(found: Sequence[Results], peers: list[dict[str, Any]]) -> str:
    """The page as Markdown."""
    parts = [HEAD, "## What each is\n", *about(found, peers)]
    for one, case in ((results, case) for results in found for case in results.cases):
        parts += [f"## {case.title}\n", markdown_table(QUALITY, one.labels, case.figures) + "\n"]
        parts += [markdown_table(TASKS, one.labels, case.figures) + "\n", "\n".join(costs(case, one)) + "\n"]
        parts += better(case, one)
    return "\n".join(parts)


def about(found: Sequence[Results], peers: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each tool that was run, and one for each that was not."""
    run = {name for one in found for case in one.cases for name in case.tools}
    for peer in peers:
        yield f"- **{peer['name']}**: {peer['about']}" + ("" if peer["name"] in run else " *It has not been run yet.*")
    yield ""


def costs(case: CaseRecord, found: Results) -> Iterator[str]:
    """How each tool ran, and what it could not do."""
    yield "| | Versions | Command | Seconds | Memory, MB | Remarks |"
    yield "|---|---|---|---|---|---|"
    for name, run in case.tools.items():
        versions = ", ".join(f"{package} {version}" for package, version in run.versions.items())
        remarks = f"Could not do it: {run.could_not}" if run.could_not else run.notes
        seconds, memory = ("-" if one is None else f"{one:.0f}" for one in (run.seconds, run.memory_mb))
        yield f"| {found.label(name)} | {versions} | `{run.command}` | {seconds} | {memory} | {remarks} |"
    for name, figures in case.figures.items():
        if name not in case.tools and figures.get("seconds") is not None:
            yield f"| {found.label(name)} | | | {figures['seconds']:.1f} | | computation alone |"


def better(case: CaseRecord, found: Results) -> Iterator[str]:
    """Where a tool has a better figure than Lamella's first answer, said outright."""
    ours = next(one.name for one in found.methods if one.kind == "model")
    for name in case.tools:
        rows = {key: case.figures[key] for key in (ours, name) if key in case.figures}
        won = [one for one in (*QUALITY, *TASKS) if best_methods(one, rows) == {name}]
        if won:
            yield f"{found.label(name)} is better than {found.label(ours)} in: {'; '.join(map(heading, won))}.\n"


if __name__ == "__main__":
    raise SystemExit(main())
