"""Run other tools on the cases of an evaluation, and hand their results to `lamella evaluate`.

    python benchmarks/peers/run.py benchmarks/peers/peers.yaml [--only NAME,NAME]

Each tool has a folder here with its script and the exact packages of its environment, which is made on first use. It is given
the thick slices that every method gets, runs as a process of its own, and leaves a thin volume and a record: versions, command,
seconds, memory, and what it could not do. Training comes first, for the minutes that peers.yaml says. What is done is not done
again, and what was stopped goes on. `lamella evaluate` is then told of the results; see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lamella.evaluate.cases import build_cases, plan_cases
from lamella.evaluate.settings import EvaluationSettings
from lamella.files.config import load
from lamella.nifti.image import write_nifti

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Peer:
    """A tool as peers.yaml names it.

    Attributes:
        name: of the method in tables, and of its files.
        folder: of its script and its packages.
        words: after the script's name.
        train: words of networks/train.py; its run lies in a folder of the peer's name.
        about: what it is, for the page.
    """

    name: str
    folder: str
    words: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class Question:
    """The thick slices of a case, and how far apart the thin ones are to be."""

    case: str
    thick: Path
    thickness_mm: float
    thin_mm: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--only", default="", help="names of tools, separated by commas")
    parser.add_argument("--cases", default="", help="ids of cases, separated by commas")
    asked = parser.parse_args()
    config = yaml.safe_load(asked.config.read_text(encoding="utf-8"))
    peers = [Peer(**{key: tuple(v) if isinstance(v, list) else v for key, v in one.items()}) for one in config["peers"]]
    wanted, cases = ([n.strip() for n in text.split(",") if n.strip()] for text in (asked.only, asked.cases))
    unknown = sorted(set(wanted) - {one.name for one in peers})
    if unknown:
        raise SystemExit(f"There is no tool {unknown[0]!r}. Expected some of {', '.join(one.name for one in peers)}.")
    out = Path(config["out"])
    questions = [one for one in asked_of(Path(config["evaluation"]), out / "cases") if not cases or one.case in cases]
    for peer in peers:
        if wanted and peer.name not in wanted:
            continue
        python = environment(peer.folder, out / "env")
        if peer.train:
            words = [HERE / "networks" / "train.py", *peer.train[:1], run_of(peer, out), *peer.train[1:]]
            done = measured([str(python), *map(str, words)])
            print(f"{peer.name}: {done.output.strip() or done.error[-500:]}", flush=True)
        for question in questions:
            print(f"{peer.name}, {question.case}: {ask(peer, question, python, out)}", flush=True)
    return 0


def asked_of(evaluation: Path, folder: Path) -> Iterator[Question]:
    """Write the thick slices of every case where they are not there yet."""
    settings = load(EvaluationSettings, evaluation, ())
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "cases.json"
    planned = plan_cases(settings)
    known = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else {}
    for plan, case in build_cases([one for one in planned if one.id not in known], settings):
        if isinstance(case, Exception):
            raise SystemExit(f"Case {plan.id} cannot be built. {case}")
        write_nifti(folder / f"{plan.id}.nii.gz", [case.thick], None)
        known[plan.id] = [case.thick.geometry.thickness_mm, case.grid.spacing_mm]
        listing.write_text(json.dumps(known), encoding="utf-8")
    for plan in planned:
        yield Question(plan.id, folder / f"{plan.id}.nii.gz", *known[plan.id])


def environment(name: str, folder: Path) -> Path:
    """The interpreter of a tool's own environment, made of exactly the packages in its requirements.txt."""
    place, lock = folder / name, HERE / name / "requirements.txt"
    python, ready = place / "bin" / "python", place / "made-of.txt"
    if not ready.is_file() or ready.read_text(encoding="utf-8") != lock.read_text(encoding="utf-8"):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        words = ["install", "--quiet", "--no-compile", "--no-deps", "--require-hashes", "--requirement", str(lock)]
        subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", *words], check=True)
        ready.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
    return python.absolute()


def run_of(peer: Peer, out: Path) -> Path:
    """Where its training is kept."""
    return out / "runs" / peer.name.replace(" ", "-")


def ask(peer: Peer, question: Question, python: Path, out: Path) -> str:
    """Have a tool answer a case, and write its record; what came of it, in a few words."""
    folder = out / "results" / question.case
    folder.mkdir(parents=True, exist_ok=True)
    thin, record = folder / f"{peer.name}.nii.gz", folder / f"{peer.name}.json"
    trained = run_of(peer, out) / "last.pt"
    if peer.train and not trained.is_file():
        return "it has not been trained"
    own = [*peer.words, *(("--run", str(trained.parent)) if peer.train else ())]
    same = record.is_file() and json.loads(record.read_text(encoding="utf-8"))["command"] == told(question, own)
    if same and (not peer.train or record.stat().st_mtime > trained.stat().st_mtime):
        return "done already"
    staged = folder / f".{peer.name}.nii.gz"
    given = ["--thickness-mm", f"{question.thickness_mm:g}", "--thin-mm", f"{question.thin_mm:g}", *own]
    done = measured([str(python), str(HERE / peer.folder / "thin.py"), str(question.thick), str(staged), *given])
    if done.code < 0:
        return "it was stopped"
    content = recorded(peer, question, own, done)
    if not content["could_not"]:
        os.replace(staged, thin)
    else:
        thin.unlink(missing_ok=True)
    record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content["could_not"] or f"{done.seconds:.0f} s, {done.processor_s:.0f} s of processor time"


@dataclass(frozen=True)
class Measured:
    """How a process ended: exit code, wall and processor seconds, largest resident set in MB, and what it wrote."""

    code: int
    seconds: float
    processor_s: float
    memory_mb: float
    output: str
    error: str


def measured(words: list[str]) -> Measured:
    """Run a process to its end; what its own processes use is counted, too."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=output, stderr=error, text=True, env=surroundings)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said = []
        for file in (output, error):
            file.seek(0)
            said.append(file.read())
    processor_s, memory_mb = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6
    return Measured(process.returncode, seconds, processor_s, memory_mb, *said)


def recorded(peer: Peer, question: Question, own: list[str], done: Measured) -> dict[str, Any]:
    """The record of a run, as `lamella.results.evidence.ToolRun` reads it; no path is in it."""
    notes, could_not = "", ""
    if done.code == 0:
        notes = json.loads(done.output.strip().splitlines()[-1])["notes"]
    else:
        could_not = (done.error.strip().splitlines() or [f"It ended with code {done.code}."])[-1]
    return {
        "versions": versions(peer.folder),
        "command": told(question, own),
        "seconds": round(done.seconds, 1),
        "memory_mb": round(done.memory_mb, 1),
        "notes": f"{notes} {done.processor_s:.0f} s of processor time.".strip(),
        "could_not": could_not,
    }


def told(question: Question, own: list[str]) -> str:
    """The words of a command, without folders."""
    shown = [Path(word).name if "/" in word else word for word in own]
    return " ".join(["thin.py", "THICK", "THIN", "--thin-mm", f"{question.thin_mm:g}", *shown])


def versions(name: str) -> dict[str, str]:
    """What a tool's requirements.in asks for, with the versions of its requirements.txt."""
    pinned = dict(line.split(" ")[0].split("==") for line in _lines(HERE / name / "requirements.txt") if "==" in line)
    asked = [line.split("==")[0].split(">=")[0] for line in _lines(HERE / name / "requirements.in")]
    shown = asked if len(asked) < 4 else [one for one in asked if one in ("torch", "py-SAINT")]
    return {one: pinned[one.lower()] for one in shown}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#-"]


if __name__ == "__main__":
    raise SystemExit(main())
