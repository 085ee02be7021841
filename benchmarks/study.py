"""The training study of the embedded model: runs that differ in one thing and take the same time.

    python benchmarks/study.py configs/study.yaml [--only NAME,NAME]

The first run trains as many steps as fit the minutes, every other as many as take the same time: steps of both are timed in
the same go, so that a slower day changes nothing (close other programs meanwhile), but where a run changes nothing that takes
time (`same_cost`). Each is one cosine from warm-up to the end, and its mean is scored on the held-out scan of
configs/evaluate-held-out.yaml. Runs are kept under `out`, figures in the file `kept`: a run with figures is not
repeated (delete them to have it measured again), one that was stopped goes on. Prints a Markdown table. `train` and
`evaluate` are the installed `lamella`'s.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TIMED_STEPS = 50
HELD_OUT = Path("configs/evaluate-held-out.yaml")
CONFIG = "configs/embedded.yaml"
REGIONS = ("soft", "lung", "bone")
COMMAND = str(Path(sys.executable).with_name("lamella"))


@dataclass(frozen=True)
class Variant:
    """One run: its folder, what is changed, and why."""

    name: str
    folder: Path
    overrides: tuple[str, ...]
    about: str
    same_cost: bool = False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--only", default="", help="names of runs, separated by commas")
    asked = parser.parse_args()
    study = yaml.safe_load(asked.study.read_text(encoding="utf-8"))
    chosen = [name.strip() for name in asked.only.split(",") if name.strip()]
    variants = [
        Variant(
            run["name"],
            Path(study["out"]) / run["name"].replace(" ", "-"),
            (*study["base"], *run.get("set", [])),
            run["about"],
            run.get("same_cost", False),
        )
        for run in study["runs"]
    ]
    base = variants[0]
    variants = [one for one in variants if not chosen or one.name in chosen]
    kept = Path(study["kept"])
    figures = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    missing = [one for one in variants if one.name not in figures]
    kept_steps = figures.get(base.name, {}).get("plan", {}).get("steps")
    plan_all(base, missing, 60.0 * study["minutes"], kept_steps)
    for one in missing:
        train(one)
        figures[one.name] = score(one)
        kept.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"done: {one.name}", file=sys.stderr, flush=True)
    rows = [(one, figures[one.name]) for one in variants]
    print(table(rows, figures.get(base.name, rows[0][1])))
    return 0


def plan_all(base: Variant, missing: list[Variant], seconds: float, base_steps: int | None) -> None:
    """Decide, once, how many steps each run takes; `base_steps` are those of the first run where it is done."""
    open_plans = [one for one in missing if not (one.folder / "plan.json").is_file()]
    if not open_plans:
        return
    base_s = seconds_a_step(base)
    base_steps = base_steps or int(seconds / base_s)
    for one in open_plans:
        step_s = base_s if one.same_cost or one == base else seconds_a_step(one)
        plan = {"step_s": step_s, "steps": max(TIMED_STEPS, int(base_steps * base_s / step_s)), "base_step_s": base_s}
        one.folder.mkdir(parents=True, exist_ok=True)
        (one.folder / "plan.json").write_text(json.dumps(plan))


def train(one: Variant) -> None:
    """Train a run to its end."""
    if not (one.folder / "model").is_dir():
        steps = json.loads((one.folder / "plan.json").read_text())["steps"]
        lamella("train", CONFIG, f"run={one.folder}", *one.overrides, f"mean.steps={steps}")


def seconds_a_step(one: Variant) -> float:
    """From the times that a short run of its own logged, the first steps left out."""
    trial = one.folder / "trial"
    shutil.rmtree(trial, ignore_errors=True)  # a finished one would not be trained again
    lamella(
        "train", CONFIG, f"run={trial}", *one.overrides, f"validate_every={TIMED_STEPS}", f"mean.steps={TIMED_STEPS}"
    )
    board = EventAccumulator(str(trial / "mean" / "tensorboard"))
    board.Reload()
    logged = board.Scalars("train/loss")
    return (logged[-1].wall_time - logged[0].wall_time) / (logged[-1].step - logged[0].step)


def score(one: Variant) -> dict[str, Any]:
    """Figures of the mean on the held-out scan: geometry -> gain over cubic in dB, and RMSE by region over cubic's."""
    out = one.folder / "results"
    models = [f"models.0.model={one.folder / 'model'}", "models.0.modes=[mean]"]
    lamella("evaluate", str(HELD_OUT), f"out={out}", *models)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"plan": json.loads((one.folder / "plan.json").read_text())}
    for case in results["cases"]:
        figures = case["figures"]
        mean, cubic = figures["mean"], figures["cubic"]
        found[case["title"]] = {"gain_db": mean["psnr_4095_db"] - cubic["psnr_4095_db"]}
        found[case["title"]] |= {region: mean[f"rmse_{region}_hu"] / cubic[f"rmse_{region}_hu"] for region in REGIONS}
    return found


def lamella(*words: str) -> None:
    """The installed command; its words are shown only when it fails."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"Exit code {done.returncode} from lamella {' '.join(words)}\n{(done.stdout + done.stderr)[-3000:]}"
        )


def table(rows: list[tuple[Variant, dict[str, Any]]], first: dict[str, Any]) -> str:
    """Markdown: a row a run; time of a step over the first run's; gains in dB over cubic, and over the first run's; of the
    first case, errors over cubic's."""
    titles = [title for title in first if title != "plan"]
    heads = ["run", "what is changed", "steps", "time of one", *titles, *REGIONS]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one, found in rows:
        cells = [f"{found[t]['gain_db']:+.2f} ({found[t]['gain_db'] - first[t]['gain_db']:+.2f})" for t in titles]
        cells += [f"{found[titles[0]][region]:.3f}" for region in REGIONS]
        plan = found["plan"]
        slower = plan["step_s"] / plan.get("base_step_s", first["plan"]["step_s"])
        lines.append(f"| {one.name} | {one.about} | {plan['steps']} | {slower:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
