"""Only the registry, and what trains a model, know which kinds of model there are."""

from __future__ import annotations

import ast
from pathlib import Path

import lamella

PACKAGE = Path(lamella.__file__).parent
OWN_ROOMS = ("embedded", "latent_diffusion")
MAY_NAME_A_KIND = ("models", "train")
CLASSES = {"EmbeddedModel", "EmbeddedWeights", "LatentModel", "LatentWeights"}
CONSTANTS = {"EMBEDDED", "LATENT", "LATENT_DIFFUSION"}


def asking(source: str) -> list[str]:
    """What of a source asks for the kind of a model: imports of a kind, `isinstance` of one, comparisons with one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found += [f"imports {a.name}" for a in node.names if a.name in CLASSES | CONSTANTS]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            names = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            found += [f"isinstance of {name}" for name in sorted(names & (CLASSES | {"ThinModel"}))]
        if isinstance(node, ast.Compare):
            texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            found += [f"compares with {text!r}" for text in sorted(texts & {"embedded", "latent-diffusion"})]
    return found


def test_nobody_asks_for_the_kind_of_a_model() -> None:
    places = []
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).parts[0]
        if room in (*OWN_ROOMS, *MAY_NAME_A_KIND) or file == PACKAGE / "networks" / "folder.py":
            continue  # the folder holds the name of the kind that a card without one is of
        places += [f"{file.relative_to(PACKAGE)}: {what}" for what in asking(file.read_text(encoding="utf-8"))]
    assert places == []


def test_a_question_is_found() -> None:
    assert asking("from lamella.embedded.model import EmbeddedModel\n") == ["imports EmbeddedModel"]
    assert asking("isinstance(model, (LatentModel, int))\n") == ["isinstance of LatentModel"]
    assert asking("model.kind == 'latent-diffusion'\n") == ["compares with 'latent-diffusion'"]
