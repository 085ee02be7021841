"""YAML to settings: round trip, overrides, and every kind of mistake."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.errors import UsageError
from lamella.files.config import load, save
from lamella.train.settings import EmbeddedRun

EMBEDDED = Path(__file__).parents[2] / "configs" / "embedded.yaml"


@dataclass(frozen=True)
class Part:
    name: str
    weight: float = 1.0
    range_hu: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Run:
    folder: str
    parts: tuple[Part, ...] = ()
    best: Part = field(default_factory=lambda: Part("best"))
    steps: int = 10
    mode: Literal["fast", "good"] = "good"
    limit: int | None = None
    keep: bool = False
    place: Path = Path("here")
    named: dict[str, Part] = field(default_factory=dict)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    return file


@given(
    st.builds(
        Run,
        folder=st.text("abc/ ", max_size=8),
        parts=st.lists(
            st.builds(Part, name=st.sampled_from(["a", "1", "null", "yes"]), weight=st.floats(-1e30, 1e30))
        ).map(tuple),
        named=st.dictionaries(st.text("xyz ", max_size=3), st.builds(Part, name=st.just("y"))),
        best=st.builds(Part, name=st.just("x"), range_hu=st.tuples(st.floats(-9, 9), st.floats(1e-12, 1e12))),
        steps=st.integers(),
        limit=st.none() | st.integers(),
        keep=st.booleans(),
    )
)
def test_saved_settings_load_as_they_were(tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
    file = tmp_path_factory.mktemp("config") / "run.yaml"
    save(run, file)
    assert load(Run, file) == run


def test_overrides_win_at_any_depth(tmp_path: Path) -> None:
    file = written(tmp_path, "folder: data\nparts: [{name: a}, {name: b, weight: 2}]\n")
    overrides = ["parts.1.weight=7e-4", "best.name=other", "steps=3", "limit=null", "mode=fast", "place=there/x"]
    run = load(Run, file, overrides)
    assert run.parts == (Part("a"), Part("b", 7e-4))
    assert (run.best.name, run.steps, run.mode, run.place) == ("other", 3, "fast", Path("there/x"))
    assert load(Run, file).parts[1].weight == 2.0


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("folder: x\nstepps: 3", [], r"Unknown key stepps\. Nearest: steps\."),
        ("folder: x\nbest: {name: a, wieght: 1}", [], r"Unknown key best\.wieght\. Nearest: best\.weight\."),
        ("folder: x", ["best.wight=1"], r"Unknown key best\.wight\. Nearest: best\.weight\."),
        ("steps: 3", [], r"lacks folder"),
        ("folder: x\nsteps: 3.5", [], r"steps must be a whole number\. Found 3\.5"),
        ("folder: x\nsteps: true", [], r"steps must be a whole number\. Found True"),
        ("folder: x\nkeep: 1", [], r"keep must be true or false"),
        ("folder: 7", [], r"folder must be text\. Found 7"),
        ("folder: x\nmode: best", [], r"mode must be one of fast, good"),
        ("folder: x\nbest: 3", [], r"best must be a mapping"),
        ("folder: x\nparts: {name: a}", [], r"parts must be a list"),
        ("folder: x\nparts: [{name: a, weight: heavy}]", [], r"parts\.0\.weight must be a number\. Found 'heavy'"),
        ("folder: x\nbest: {name: a, range_hu: [1]}", [], r"best\.range_hu must have 2 values\. Found 1"),
        ("folder: x", ["steps"], r"key=value"),
        ("folder: x", ["steps=[1"], r"not YAML"),
        ("folder: x\nparts: [{name: a}]", ["parts.1.weight=2"], r"no place in a list of 1"),
        ("folder: x", ["folder.name=2"], r"nothing below 'x'"),
        ("folder: [x", [], r"not YAML, line"),
        ("", [], r"must be a mapping"),
        ("folder: a\nnamed: [1]", [], r"named must be a mapping. Found \[1\]"),
        ("folder: a\nnamed: {b: {}}", [], r"The config lacks named\.b\.name"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(Run, written(tmp_path, text), overrides)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml cannot be read"):
        load(Run, tmp_path / "nowhere.yaml")


def test_the_committed_config_loads() -> None:  # SPEC A24
    run = load(EmbeddedRun, EMBEDDED, ["mean.steps=3"])
    assert run.mean.steps == 3
    assert run.data.folder == "../shared/ct/train"
