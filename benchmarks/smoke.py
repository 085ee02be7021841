"""The reference system from raw ZIPs to a page of results, at a size that takes minutes: `make smoke`.

    python benchmarks/smoke.py [configs/smoke.yaml]

Makes phantom studies, then runs `lamella prepare`, `train` (codec, adapter, latent diffusion with two heads; again where
nothing is left to do), the benchmark of the full size at the smallest size, `thin`, `evaluate`, `report` and `inspect`, each as
its users do. Every stage's result is checked, not only its exit code:
the first that is wrong ends the run with exit code 1. What is checked stands beside each stage below.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from make_ape import make
from safetensors.torch import load_file

from lamella.data.index import Index
from lamella.dicom import read_series
from lamella.errors import LamellaError
from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study
from lamella.physics.slice_operator import SliceOperator

SHAPE, PIXEL_MM, THIN_MM = (60, 96, 96), 3.0, 1.0
PATIENTS = {"APE/1": 1, "APE/2": 2, "non-APE/3": 3, "non-APE/4": 4}
LIMIT_S = 150.0


class Wrong(Exception):
    """A stage's result is not what it must be."""


def must(true: bool, what: str) -> None:
    if not true:
        raise Wrong(what)


def lamella(*arguments: str) -> str:
    """Run a verb; what it printed."""
    done = subprocess.run([sys.executable, "-m", "lamella", *arguments], capture_output=True, text=True)
    must(done.returncode == 0, f"lamella {' '.join(arguments)} ended with {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def raw(parts: dict[str, Any], root: Path) -> None:
    """Four phantom patients as ZIPs, and one that must be rejected: a thick series without a thin one."""
    data = Path(parts["prepare"]["data"])
    for name, seed in PATIENTS.items():
        thin = root / "phantoms" / str(seed)
        write_phantom_study(thin, paint_phantom(PhantomSettings(SHAPE, THIN_MM, PIXEL_MM, seed=seed)), seed=seed)
        make(thin, data / f"{name}.zip")
    lamella("degrade", str(root / "phantoms" / "1"), str(root / "thick"), "--thickness-mm", "5", "--spacing-mm", "5")
    shutil.make_archive(str(data / "APE" / "5"), "zip", root / "thick")


def prepared(parts: dict[str, Any], root: Path) -> None:
    """Four cases, voxel for voxel those of the files; one reject with its reason; a split of 2, 1 and 1 patients."""
    lamella("prepare", str(root / "prepare.yaml"))
    folder = Path(parts["prepare"]["out"])
    index = Index.load(folder)
    must(len(index.entries) == 4, f"{len(index.entries)} cases, expected 4")
    found = [len(index.cases(split)) for split in ("train", "validation", "test")]
    must(found == [2, 1, 1], f"a split of {found}, expected 2, 1 and 1")
    with (folder / "rejects.csv").open(newline="") as file:
        rejects = list(csv.DictReader(file))
    must([one["source"] for one in rejects] == ["APE/5.zip"], f"rejects {rejects}, expected APE/5.zip")
    must("no thin series" in rejects[0]["reason"], f"rejected because {rejects[0]['reason']!r}")
    sources = [read_series(root / "phantoms" / str(seed)).hu for seed in PATIENTS.values()]
    for entry in index.entries:
        case = index.open(entry.case_id)
        must(case.thick is not None and case.thick.shape[0] == 12, f"{entry.case_id} has no 12 thick slices")
        hu = case.thin[slice(0, SHAPE[0]), slice(0, SHAPE[1]), slice(0, SHAPE[2])]
        must(any(np.array_equal(hu, one) for one in sources), f"{entry.case_id} is none of the phantoms")


def curve(folder: Path, name: str) -> list[float]:
    """A figure of all starts of a run, in order."""
    values = []
    for file in sorted(folder.glob("curves-from-*/metrics.csv")):
        with file.open(newline="") as text:
            values += [float(row[name]) for row in csv.DictReader(text) if row.get(name)]
    return values


def codec(parts: dict[str, Any], root: Path) -> None:
    """The round trip's error falls by a third between the first and the last validation, and the scale is measured."""
    lamella("train", str(root / "autoencoder.yaml"), "--quiet")
    folder = Path(parts["autoencoder"]["run"])
    errors = curve(folder, "val/rmse_hu")
    must(len(errors) == 3 and errors[-1] < 0.7 * errors[0], f"validation RMSE {errors} HU does not fall")
    must(errors[-1] < 300, f"a round trip of {errors[-1]:.0f} HU is no round trip")
    scale = yaml.safe_load((folder / "model" / "model.yaml").read_text())["settings"]["scale"]
    must(math.isfinite(scale) and scale > 0 and scale != 1.0, f"scale {scale} was not measured")


def adapter(parts: dict[str, Any], root: Path) -> None:
    """Side information for the codec: as close to the truth as the interpolation it is shown, and the codec's weights kept."""
    lamella("train", str(root / "adapter.yaml"), "--quiet")
    folder = Path(parts["adapter"]["run"])
    found, shown = curve(folder, "val/rmse_hu")[-1], curve(folder, "val/interpolated_rmse_hu")[-1]
    must(found < 1.02 * shown, f"a round trip of {found:.1f} HU, where the interpolation has {shown:.1f} HU")
    kept = load_file(Path(parts["autoencoder"]["run"]) / "model" / "weights.safetensors")
    tensors = load_file(folder / "model" / "weights.safetensors")
    must(all(tensors[name].equal(one) for name, one in kept.items()), "the frozen codec's weights have changed")
    must(len(tensors) > len(kept), "there is no adapter")


def latent(parts: dict[str, Any], root: Path) -> None:
    """The loss falls below that of a network that knows nothing, and a second start finds nothing to do."""
    lamella("train", str(root / "latent.yaml"), "--quiet")
    folder = Path(parts["latent"]["run"])
    losses = curve(folder, "val/loss")
    must(len(losses) == 2 and losses[-1] < losses[0], f"validation losses {losses} do not fall")
    weights = (folder / "model" / "weights.safetensors").read_bytes()
    lamella("train", str(root / "latent.yaml"), "--quiet")
    must((folder / "model" / "weights.safetensors").read_bytes() == weights, "a finished run changed its weights")
    must(curve(folder, "val/loss") == losses, "a finished run trained on")


def heads(parts: dict[str, Any], root: Path) -> None:
    """A noise head learns where it may be sampled; one that may not be is refused before it begins."""
    lamella("train", str(root / "noise.yaml"), "--quiet")
    losses = curve(Path(parts["noise"]["run"]), "val/loss")
    must(len(losses) == 2 and losses[-1] < losses[0], f"validation losses {losses} do not fall")
    words = ["train", str(root / "noise.yaml"), f"run={root / 'refused'}", "schedule.least_alpha=0"]
    done = subprocess.run([sys.executable, "-m", "lamella", *words], capture_output=True, text=True)
    must(done.returncode == 2 and "Take head v" in done.stderr, f"a head that cannot be sampled: {done.stderr[-500:]}")


def stepped(parts: dict[str, Any], root: Path) -> None:
    """The benchmark of the full size, at the smallest: steps, a kill, and the same bits after it."""
    words = ["train", str(root / "stepped"), "--preset", "smoke", "--cells", "4", "16", "16"]
    script = Path(__file__).with_name("full_size.py")
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    told = json.loads(done.stdout[done.stdout.index("{\n") :]) if "{\n" in done.stdout else {}
    must(told.get("resumed_bit_for_bit") is True, f"not resumed bit for bit: {done.stderr[-1000:]}")


def thinned(parts: dict[str, Any], root: Path) -> None:
    """DICOM to DICOM: slices where they belong, consistent with the measurement; the same seed, the same voxels."""
    model = Path(parts["latent"]["run"]) / "model"
    answers = []
    for name in ("thin", "again"):
        out = root / name
        lamella(
            *("thin", str(root / "thick"), str(out), "--model", str(model), "--mode", "sample", "--steps", "8"),
            *("--report", str(root / f"{name}.json"), "--quiet"),
        )
        answers.append(read_series(out))
    thin, thick = answers[0], read_series(root / "thick")
    must(thin.geometry.shape == SHAPE, f"{thin.geometry.shape} voxels, expected {SHAPE}")
    truth = read_series(root / "phantoms" / "1").geometry
    must(float(np.abs(thin.geometry.affine - truth.affine).max()) < 1e-3, "the slices are not where the truth's are")
    must(np.array_equal(thin.hu, answers[1].hu), "the same seed gave other voxels")
    import torch

    operator = SliceOperator.between(thin.geometry, thick.geometry)
    misfit = operator.residual(
        torch.from_numpy(thin.hu.astype(np.float32)), torch.from_numpy(thick.hu.astype(np.float32))
    )
    rmse = float(misfit.square().mean().sqrt())
    must(rmse <= 0.5, f"consistent to {rmse:.3f} HU RMSE only")
    report = json.loads((root / "thin.json").read_text())
    must(report["output"]["slices"] == SHAPE[0] and report["consistency_rmse_hu"] <= 0.5, f"report {report}")


def evaluated(parts: dict[str, Any], root: Path) -> None:
    """One case, every method, finite figures; cubic beats nearest; then a page that names them."""
    lamella("evaluate", str(root / "evaluate.yaml"), "--quiet")
    results = Path(parts["evaluate"]["out"]) / "results.json"
    found = json.loads(results.read_text())
    must(
        not found["failures"] and len(found["cases"]) == 1, f"failures {found['failures']}, {len(found['cases'])} cases"
    )
    rmse = {name: one["rmse_body_hu"] for name, one in found["cases"][0]["figures"].items()}
    must({"nearest", "cubic", "v mean", "v sample", "noise sample"} <= set(rmse), f"methods {sorted(rmse)}")
    must(all(math.isfinite(value) for value in rmse.values()), f"figures {rmse}")
    must(rmse["cubic"] < rmse["nearest"], f"cubic {rmse['cubic']:.1f} is worse than nearest {rmse['nearest']:.1f} HU")
    page = root / "results.html"
    lamella("report", str(results.parent), str(page), "--overwrite")
    must("cubic" in page.read_text(encoding="utf-8"), "the page names no method")


def inspected(parts: dict[str, Any], root: Path) -> None:
    """A case, a checkpoint and a model folder each tell what they hold."""
    index = Index.load(Path(parts["prepare"]["out"]))
    case = Path(parts["prepare"]["out"]) / "cases" / index.entries[0].case_id
    for path, word in (
        (case, "whole"),
        (Path(parts["latent"]["run"]) / "last.ckpt", "every weight is finite"),
        (Path(parts["latent"]["run"]) / "model", "latent-diffusion"),
    ):
        said = lamella("inspect", str(path))
        must(word in said, f"inspect {path.name} says {said!r}, expected {word!r}")


STAGES: tuple[Callable[[dict[str, Any], Path], None], ...] = (
    raw,
    prepared,
    codec,
    adapter,
    latent,
    heads,
    stepped,
    thinned,
    evaluated,
    inspected,
)


def main(config: str = "configs/smoke.yaml") -> int:
    parts = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    root = Path(parts["prepare"]["out"]).parent
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for name, settings in parts.items():
        (root / f"{name}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    began = time.perf_counter()
    for stage in STAGES:
        start = time.perf_counter()
        try:
            stage(parts, root)
        except (Wrong, LamellaError, OSError, KeyError) as error:
            print(f"{stage.__name__}: WRONG. {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        print(f"{stage.__name__}: right, {time.perf_counter() - start:.0f} s", flush=True)
    took = time.perf_counter() - began
    print(f"whole chain: {took:.0f} s (at most {LIMIT_S:.0f} on two idle cores)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
