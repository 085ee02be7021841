"""The documents say what is so: links, commands in the text, figures, versions, the tutorial; and lines that can be read."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

import lamella
from lamella.cli.app import command
from lamella.dicom import tags
from lamella.dicom.decode import SYNTAXES
from lamella.dicom.encode import written_syntaxes
from lamella.dicom.kind import CT_CLASSES
from lamella.node.receive import LOSSLESS
from lamella.node.settings import DicomSettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = ("_build", "_generated", "project")
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").rglob("README.md")]
    if page.relative_to(ROOT).parts[1:2] not in [(name,) for name in BUILT] and page != DOCS / "start" / "tutorial.md"
)
REPORTS = {DOCS / "results.md", DOCS / "reference-results.md", DOCS / "peers.md"}
"""Written from results.json."""

WIDTH = 120


def generator() -> ModuleType:
    return module("generate")


def module(name: str) -> ModuleType:
    """A script of the documents."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERBS: dict[tuple[str, ...], Any] = dict(generator().verbs(command()))


@pytest.mark.parametrize("path", VERBS, ids=lambda path: " ".join(path) or "lamella")
def test_every_verb_and_option_is_explained(path: tuple[str, ...]) -> None:
    verb = VERBS[path]
    assert verb.help, "no help"
    assert [one.name for one in verb.params if not one.help and one.name != "help"] == []


def test_the_reference_of_commands_shows_every_verb_and_option() -> None:
    page = generator().commands()
    for path, verb in VERBS.items():
        section = page.partition(f"## {' '.join(('lamella', *path))}\n")[2].partition("\n## ")[0]
        names = [name for one in verb.params if one.name != "help" for name in one.opts if name.startswith("-")]
        assert [name for name in names if f"`{name}`" not in section] == [], path


def test_the_reference_of_config_keys_explains_every_key() -> None:
    page = generator().config()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) > 150
    assert [key for key, _, _, meaning in rows if not meaning] == []
    places = set(re.findall(r"^\((settings-[\w-]+)\)=$", page, flags=re.MULTILINE))
    assert set(re.findall(r"\(#(settings-[\w-]+)\)", page)) <= places
    for run in ("EmbeddedRun", "VaeRun", "LatentRun", "PrepareSettings", "EvaluationSettings"):
        assert f"### {run}\n" in page


def test_the_conformance_statement_holds_every_element_and_syntax() -> None:
    statement = module("conformance")
    read, written, left_out = (statement.PAGES[name]() for name in ("read", "written", "left-out"))
    assert [uid for uid in {*SYNTAXES, *CT_CLASSES} if f"| {uid} |" not in read] == []
    assert [uid for uid in written_syntaxes().values() if f"| {uid} |" not in written] == []
    rows = dict(re.findall(r"^\| \(\w{4},\w{4}\) (.*?) \| (.*) \|$", written, flags=re.MULTILINE))
    copied = {*tags.IDENTITY, *tags.FROM_FIRST, *tags.FROM_NEAREST}
    assert len(rows) == len({*copied, *tags.RECOMPUTED, *tags.FIXED})
    assert rows["Patient's Name"] == "PN | copied: first source slice, valid or not, empty if missing | pseudonym"
    assert rows["KVP"].endswith("nearest source slice, empty if missing | kept, if valid and ASCII")
    assert rows["Series Date"].endswith("made | removed")
    network = statement.PAGES["network"]()
    assert [uid for uid in LOSSLESS if f"| {uid} |" not in network] == []
    assert [one.name for one in fields(DicomSettings) if f"`dicom.{one.name}`" not in network] == []
    assert left_out.count("\n") == len(tags.DROPPED) + 2
    page = (DOCS / "reference" / "conformance.md").read_text(encoding="utf-8")
    assert {f"conformance-{name}.md" for name in statement.PAGES} == set(re.findall(r"conformance-[\w-]+\.md", page))


def test_the_tests_that_security_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def links_of(page: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r"<img[^>]* src=\"([^\"]+)\"", text)


def anchors_of(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    named = set(re.findall(r"^\(([\w-]+)\)=$", text, flags=re.MULTILINE))
    return named | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    assert dead == []


def commands_of(page: Path) -> Iterator[list[str]]:
    """The `make` and `lamella` lines of a page's code blocks, and of its inline code."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for line in [*lines, *re.findall(r"(?<!`)`((?:make|lamella) [^`]+)`(?!`)", text)]:
        if re.match(r"\s*(make|lamella) ", line):
            yield shlex.split(line, comments=True)


def fault_of(words: list[str]) -> str | None:
    """What is wrong with a command of the documents."""
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
    else:
        verb = next((tuple(words[1 : 1 + n]) for n in (2, 1) if tuple(words[1 : 1 + n]) in VERBS), ())
        if not verb and words[1].isidentifier() and words[1].islower():
            return f"no verb {words[1]}"
        verb = (*verb, "run") if (*verb, "run") in VERBS else verb  # what `lamella batch` is short for
        known = {"-h", "--help", *(name for one in VERBS[verb].params for name in one.opts)}
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        unknown = [word for word in options if word not in known]
    return f"unknown: {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist(page: Path) -> None:
    faults = {" ".join(words): fault for words in commands_of(page) if (fault := fault_of(words)) is not None}
    assert faults == {}


def test_the_checks_see_faults(tmp_path: Path) -> None:
    assert fault_of(["make", "coffee"]) == "unknown: ['coffee']"
    assert fault_of(["lamella", "brew", "x"]) == "no verb brew"
    assert fault_of(["lamella", "thin", "a", "b", "--sharper"]) == "unknown: ['--sharper']"
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading\n[gone](nowhere.md) [here](#a-heading) `make test`\n```sh\nlamella thin a b \\\n --steps 3\n```\n"
    )
    assert list(links_of(page)) == ["nowhere.md", "#a-heading"]
    assert anchors_of(page) == {"a-heading"}
    assert list(commands_of(page)) == [["lamella", "thin", "a", "b", "--steps", "3"], ["make", "test"]]


def long_lines(text: str) -> list[str]:
    """Lines that are too long; tables, what a script writes, a program's output and a lone link may be longer."""
    text = re.sub(r"<!-- FIGURES.*?<!-- END FIGURES -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```(\w*)\n.*?^```$", lambda m: m[0] if m[1] else "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in text.splitlines() if len(line) > WIDTH and not line.startswith("|")]
    return [line for line in lines if not re.fullmatch(r"\W*\[[^]]*\]\([^)]*\)\W*", line)]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in REPORTS], ids=lambda page: page.name)
def test_no_line_is_longer_than_a_screen(page: Path) -> None:
    assert long_lines(page.read_text(encoding="utf-8")) == []


def test_long_lines_are_seen() -> None:
    long = "word " * 30
    assert long_lines(f"short\n{long}\n| {long} |\n![{long}](picture.png)\n```\n{long}\n```\n") == [long]


def test_the_table_of_the_readme_agrees_with_the_models_card() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("<!-- FIGURES") : text.index("<!-- END FIGURES")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    card = yaml.safe_load((ROOT / "src/lamella/models/embedded/model.yaml").read_text(encoding="utf-8"))
    cases = card["metrics"]["never_trained_on"][: len(rows[0]) - 1]
    found = {row[0]: row[1:] for row in rows}
    for case, head, gain, body in zip(
        cases,
        rows[0][1:],
        next(row for name, row in found.items() if "gain in PSNR" in name),
        found["`mean`: RMSE in the body, HU (cubic)"],
        strict=True,
    ):
        assert case["case"].endswith(head.replace("mm slices every", "mm every"))
        assert gain.startswith(f"{case['mean_psnr_4095_gain_over_cubic_db']:+.2f} dB")
        assert body == "{1} ({0})".format(*case["rmse_body_hu_cubic_mean"])
    times = card["metrics"]["seconds_55_to_275_slices_of_512"]
    assert all(f"`{mode}` {seconds} s" in " ".join(table.split()) for mode, seconds in times.items())


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == lamella.__version__
    assert citation["license"] == "Apache-2.0"


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"]), "strip outputs"
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert [link for link in re.findall(r"\]\(([^)#]+)", prose) if not (DOCS / link).exists()] == []
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)


def test_the_page_of_the_report_names_its_fields() -> None:
    page = (DOCS / "reference" / "report.md").read_text(encoding="utf-8").partition("\n## The sidecar")[0]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in page.splitlines() if line[:3] == "| `")))
    thick = lamella.Volume.from_array(np.zeros((6, 32, 32)), spacing_mm=5.0, thickness_mm=5.0, pixel_mm=0.7)
    report = lamella.thin(thick, spacing_mm=2.5).report
    latent = {"codec", "scale", "condition", "sampler", "steps", "draws", "projected"}
    assert named - latent == set(report)


def test_the_page_of_the_sidecar_names_its_keys(tmp_path: Path) -> None:
    page = (DOCS / "reference" / "report.md").read_text(encoding="utf-8")
    table = page.partition("\n## The sidecar")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w.]+)`", "".join(line.split("|")[1] for line in table.splitlines() if line[:3] == "| `"))
    thick = lamella.Volume.from_array(np.full((6, 32, 32), -1000), spacing_mm=5.0, thickness_mm=5.0, pixel_mm=0.7)
    lamella.write(lamella.thin(thick, spacing_mm=2.5), tmp_path / "out.nii")
    facts = json.loads((tmp_path / "out.json").read_text())
    own = facts.pop("Lamella")
    assert sorted(named) == sorted([*facts, *(f"Lamella.{key}" for key in own)])
