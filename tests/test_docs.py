"""The documents say what is so: help texts, links, and the commands in the text.

`make help-texts` (`python -m tests.test_docs`) writes the help texts anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from lamella.cli import main

ROOT = Path(__file__).parents[1]
HELP = ROOT / "docs" / "reference" / "cli"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"])

VERBS = (
    (),
    ("thin",),
    ("inspect",),
    ("degrade",),
    ("demo",),
    ("prepare",),
    ("train",),
    ("evaluate",),
    ("report",),
    ("reader",),
    ("reader", "make"),
    ("reader", "score"),
    ("info",),
    ("models",),
    ("models", "list"),
    ("models", "import"),
    ("models", "verify"),
)


def help_of(verb: tuple[str, ...]) -> str:
    out = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "110", "NO_COLOR": "1"}), contextlib.redirect_stdout(out):
        assert main([*verb, "--help"]) == 0
    return out.getvalue()


def help_file(verb: tuple[str, ...]) -> Path:
    return HELP / f"{'-'.join(verb) or 'lamella'}.txt"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb) or "lamella")
def test_committed_help_is_the_help(verb: tuple[str, ...]) -> None:
    assert help_file(verb).read_text(encoding="utf-8") == help_of(verb), "Run: make help-texts"


def test_every_verb_has_a_help_text_and_a_link() -> None:
    def commands(verb: tuple[str, ...]) -> set[str]:
        _, _, listed = help_of(verb).partition("Commands:\n")
        return {line.split()[0] for line in listed.splitlines() if re.match(r"  \w", line) and "Exit codes" not in line}

    assert commands(()) == {verb[0] for verb in VERBS if verb}
    for group in {verb[0] for verb in VERBS if len(verb) == 2}:
        assert commands((group,)) == {verb[1] for verb in VERBS if len(verb) == 2 and verb[0] == group}
    assert {file.name for file in HELP.iterdir()} == {help_file(verb).name for verb in VERBS}
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"(cli/{help_file(verb).name})" not in page] == []


def links_of(page: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r"<img[^>]* src=\"([^\"]+)\"", text)


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
        if not verb and words[1].isidentifier():
            return f"no verb {words[1]}"
        text = help_of(verb)
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        unknown = [word for word in options if not re.search(rf"^\s+(-h, )?{word}\b", text, flags=re.MULTILINE)]
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


def write_help_texts() -> None:
    HELP.mkdir(parents=True, exist_ok=True)
    for verb in VERBS:
        help_file(verb).write_text(help_of(verb), encoding="utf-8")


if __name__ == "__main__":
    write_help_texts()
