"""Choices of the reference system at equal time: losses of the codec, heads of the denoising network.

    python benchmarks/latent_study.py configs/study-codec.yaml [--only NAME,NAME]
    python benchmarks/latent_study.py configs/study-heads.yaml

Every run is the study's configuration with one change, trained for the same seconds of the processor: steps of the first run
and of the others are timed in the same go, by the time the processor spends, so that other programs change nothing. Codecs are
scored by the last validation, heads by one draw and the mean of several on slices that no training has seen, never on the
published scans. Runs are kept under `out`, figures in the file `kept`; a run with figures is not repeated, one that was
stopped goes on. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
from pathlib import Path
from typing import Any

import yaml
from curve import validations
from study import HELD_OUT, REGIONS, Variant, lamella

FIGURES = ("rmse_hu", "interpolated_rmse_hu", "detail", "latent_std")
"""Of a codec's last validation; `detail` is how steep its image is over the truth's, below 1 where it blurs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--only", default="", help="names of runs, separated by commas")
    asked = parser.parse_args()
    study = yaml.safe_load(asked.study.read_text(encoding="utf-8"))
    variants = variants_of(study)
    chosen = [name.strip() for name in asked.only.split(",") if name.strip()]
    kept = Path(study["kept"])
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    missing = [one for one in variants if one.name not in found and one.name in (chosen or [v.name for v in variants])]
    for one, steps in planned(study, variants[0], missing, found).items():
        lamella("train", study["config"], f"run={one.folder}", *one.overrides, f"fit.steps={steps}", *looks(steps))
        found[one.name] = {"steps": steps, **(drawn(study, one) if "draw" in study else validations(one.folder)[-1])}
        kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(study, [(one, found[one.name]) for one in variants if one.name in found]))
    return 0


def variants_of(study: dict[str, Any]) -> list[Variant]:
    """The runs of a study."""
    return [
        Variant(
            run["name"],
            Path(study["out"]) / run["name"].replace(" ", "-"),
            (*study.get("base", []), *run.get("set", [])),
            run["about"],
            run.get("same_cost", False),
        )
        for run in study["runs"]
    ]


def looks(steps: int) -> list[str]:
    """Four checkpoints and validations, whatever the number of steps."""
    return [f"fit.{name}={max(1, steps // 4)}" for name in ("validate_every", "checkpoint_every")]


def planned(study: dict[str, Any], base: Variant, missing: list[Variant], found: dict[str, Any]) -> dict[Variant, int]:
    """How many steps each run takes: those of the first as the study says, the others' by what theirs cost."""
    steps, costs = {}, {}
    for one in missing:
        plan = one.folder.with_name(f"{one.folder.name}.plan.json")
        if not plan.is_file():
            if not one.same_cost and one.name != base.name:
                costs.setdefault(base.name, seconds_a_step(study, base))
            ratio = 1.0 if one.same_cost or one.name == base.name else costs[base.name] / seconds_a_step(study, one)
            plan.parent.mkdir(parents=True, exist_ok=True)
            plan.write_text(json.dumps(max(4, round(study["steps"] * ratio))))
        steps[one] = int(json.loads(plan.read_text()))
    return steps


def seconds_a_step(study: dict[str, Any], one: Variant) -> float:
    """Of the processor: what a run of so many steps more costs more, checkpoints and validations apart."""
    spent = []
    for steps in (1, 1 + study["timed_steps"]):
        trial = one.folder.with_name(f"{one.folder.name}-trial")
        shutil.rmtree(trial, ignore_errors=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        once = [f"fit.validate_every={steps}", f"fit.checkpoint_every={steps}"]
        lamella("train", study["config"], f"run={trial}", *one.overrides, f"fit.steps={steps}", *once)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        shutil.rmtree(trial)
    return (spent[1] - spent[0]) / study["timed_steps"]


def drawn(study: dict[str, Any], one: Variant) -> dict[str, Any]:
    """Method -> gain over cubic in dB, and RMSE by region over cubic's."""
    draw, out = study["draw"], one.folder / "results"
    model = {"name": "draws", "model": str(one.folder / "model"), "modes": ["sample"], **draw}
    lamella("evaluate", str(HELD_OUT), f"out={out}", f"models=[{json.dumps(model)}]", *study.get("evaluate", []))
    figures = json.loads((out / "results.json").read_text(encoding="utf-8"))["cases"][0]["figures"]
    cubic = figures["cubic"]
    return {
        name: {"gain_db": own["psnr_4095_db"] - cubic["psnr_4095_db"]}
        | {region: own[f"rmse_{region}_hu"] / cubic[f"rmse_{region}_hu"] for region in REGIONS}
        | {"noise in plane": own["noise_in_plane_ratio"], "noise along z": own["noise_along_z_ratio"]}
        for name, own in figures.items()
        if "sample" in name
    }


def table(study: dict[str, Any], rows: list[tuple[Variant, dict[str, Any]]]) -> str:
    """Markdown, a row for each run, or for each method of a run."""
    if "draw" not in study:
        names = [name for name in FIGURES if any(name in found for _, found in rows)]
        lines = [f"| run | what is changed | steps | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
        for one, found in rows:
            cells = [f"{found[name]:.3f}" if name in found else "-" for name in names]
            lines.append(f"| {one.name} | {one.about} | {found['steps']} | {' | '.join(cells)} |")
        return "\n".join(lines)
    heads = ["gain_db", *REGIONS, "noise in plane", "noise along z"]
    lines = [f"| run | what is changed | steps | method | {' | '.join(heads)} |", "|---" * (4 + len(heads)) + "|"]
    for one, found in rows:
        for method, own in found.items():
            if method != "steps":
                cells = " | ".join(f"{own[head]:.2f}" for head in heads)
                lines.append(f"| {one.name} | {one.about} | {found['steps']} | {method} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
