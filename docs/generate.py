"""Write the pages that follow from the program and the project: commands, config keys, model card, tutorial, changes.

`conf.py` calls `generate` before each build of the site. Nothing of it is committed.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from lamella.cli.app import command
from lamella.files.aliases import ALIASES
from lamella.results.schema import Results

DOCS = Path(__file__).parent
ROOT = DOCS.parent
CARD = ROOT / "src" / "lamella" / "models" / "embedded" / "model.yaml"

CONFIGS = {
    "lamella.train:EmbeddedRun": "lamella train: the embedded model (kind: embedded, the default)",
    "lamella.train.vae:VaeRun": "lamella train: an autoencoder codec (kind: autoencoder)",
    "lamella.train.latent:LatentRun": "lamella train: latent diffusion (kind: latent)",
    "lamella.data.prepare_settings:PrepareSettings": "lamella prepare",
    "lamella.evaluate:EvaluationSettings": "lamella evaluate",
    "lamella.node.settings:NodeSettings": "lamella serve",
    "lamella.selection.rules:SeriesRules": "lamella batch --rules: which series",
    "lamella.batch.mercure:MercureSettings": "lamella mercure: process, settings of task.json",
}
"""The settings that a YAML file fills, and the command that reads it."""


def generate() -> None:
    """Write every page; one that has not changed stays as it is, so that Sphinx need not read it again."""
    from conformance import PAGES

    pages = {
        "_generated/commands": commands(),
        "_generated/config": config(),
        "_generated/results": results(),
        "_generated/model-card": model_card(),
        **{f"_generated/conformance-{name}": page() for name, page in PAGES.items()},
        "start/tutorial": tutorial(),
        "project/contributing": of_root("CONTRIBUTING.md"),
        "project/changes": of_root("CHANGELOG.md"),
        "project/security": of_root("SECURITY.md"),
    }
    for name, text in pages.items():
        file = DOCS / f"{name}.md"
        file.parent.mkdir(exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, groups before their commands."""
    yield path, group
    for name, found in getattr(group, "commands", {}).items():
        yield from verbs(found, (*path, name))


def commands() -> str:
    """One section a command: usage, help, arguments and options."""
    sections = []
    for path, verb in verbs(command()):
        arguments = [one for one in verb.params if not is_option(one)]
        pieces = [("{}" if one.required else "[{}]").format(one.metavar or one.name.upper()) for one in arguments]
        usage = " ".join(["lamella", *path, "[OPTIONS]", *pieces, *(["COMMAND"] if hasattr(verb, "commands") else [])])
        rows = [parameter(one, verb) for one in verb.params if one.name != "help"]
        table = ["| argument or option | default | meaning |", "|---|---|---|", *rows] if rows else []
        words = re.sub(r"(?m)^ +", "", verb.help or "")
        sections += [f"## {' '.join(('lamella', *path))}", f"```text\n{usage}\n```", words, "\n".join(table)]
    return "\n\n".join(sections) + "\n"


def is_option(one: Any) -> bool:
    """Whether a parameter is named on the command line."""
    return bool(one.opts[0].startswith("-"))


def parameter(one: Any, verb: Any) -> str:
    """A row: names with what they take, default, meaning. The verb's own annotations tell the type."""
    hint = get_type_hints(inspect.unwrap(verb.callback)).get(one.name)
    names = ", ".join(f"`{name}`" for name in one.opts) if is_option(one) else f"`{one.metavar or one.name.upper()}`"
    flag = is_option(one) and getattr(one, "is_flag", False)
    if is_option(one) and not flag:
        names += f" {f'`{one.metavar}`' if one.metavar else type_text(hint).removesuffix(' or null')}"
    default = "" if flag or one.default in (None, "", ()) else f"`{one.default}`"
    return f"| {cell(names)} | {'required' if one.required else default} | {cell(one.help or '')} |"


def cell(text: str) -> str:
    """Text that stays within a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def config() -> str:
    """One section a YAML file, one table a dataclass within it."""
    sections, done = [], set[type]()
    for place, title in CONFIGS.items():
        module, _, name = place.partition(":")
        kind = getattr(importlib.import_module(module), name)
        found = list(tables(kind, done)) or [f"The keys are those of [{kind.__name__}](#{anchor(kind)})."]
        sections.append(f"## {title}\n\n" + "\n\n".join(found))
    rows = "\n".join(f"| `{old}` | `{new}` |" for old, new in ALIASES.items())
    sections.append(f"## Keys of earlier versions\n\n| old key, still read | key |\n|---|---|\n{rows}")
    return "\n\n".join(sections) + "\n"


def results() -> str:
    """The schema of results.json, one table a dataclass."""
    return "\n\n".join(tables(Results, set(), "field")) + "\n"


def tables(kind: Any, done: set[type], name: str = "key") -> Iterator[str]:
    """The table of a dataclass, then those of the dataclasses within it that were not shown before."""
    if kind in done:
        return
    done.add(kind)
    hints, meanings = get_type_hints(kind), attributes(kind)
    inner = []
    rows = [f"| {name} | value | default | meaning |", "|---|---|---|---|"]
    for one in dataclasses.fields(kind):
        rows.append(
            f"| `{one.name}` | {type_text(hints[one.name])} | {default_text(one)} | {cell(meanings.get(one.name, ''))} |"
        )
        inner += [part for part in parts_of(hints[one.name]) if dataclasses.is_dataclass(part)]
    heading = f"({anchor(kind)})=\n### {kind.__name__}\n\n{summary(kind)}\n\n"
    yield heading + "\n".join(rows)
    for part in inner:
        yield from tables(part, done, name)


def parts_of(hint: Any) -> list[Any]:
    """The types that a hint is made of."""
    inner = [part for part in get_args(hint) if get_origin(hint) is not Literal]
    return [hint] if not inner else [one for part in inner for one in parts_of(part)]


def type_text(hint: Any) -> str:
    """A hint in words; a dataclass as a link to its table."""
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return f"[{hint.__name__}](#{anchor(hint)})"
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(one) for one in inner)
    if origin is tuple:
        return f"list of {type_text(inner[0])}" if inner[-1] is Ellipsis else ", ".join(map(type_text, inner))
    if origin is dict:
        return f"mapping of name to {type_text(inner[1])}"
    names = {
        int: "integer",
        float: "number",
        str: "text",
        bool: "true or false",
        Path: "path",
        type(None): "null",
        Any: "any value",
    }
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def default_text(one: dataclasses.Field[Any]) -> str:
    """What stands where the key is missing; nothing for a dataclass, which has a table of its own."""
    value = one.default
    if one.default_factory is not dataclasses.MISSING:
        value = one.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, tuple | list):
        return "its own" if any(dataclasses.is_dataclass(item) for item in value) else f"`{list(value)}`"
    if value is None or isinstance(value, bool) or value == "":
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


def anchor(kind: type) -> str:
    """Where a dataclass is explained."""
    return f"settings-{kind.__module__.replace('lamella.', '').replace('.', '-').replace('_', '-')}-{kind.__name__}".lower()


def summary(kind: type) -> str:
    """The docstring without its lists."""
    text = re.split(r"\n\s*(?:Attributes|Args|Raises):\n", kind.__doc__ or "")[0]
    return " ".join(text.split())


def attributes(kind: type) -> dict[str, str]:
    """What the docstring says of each attribute; names may share an entry."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        match = re.search(
            r"\n\s*Attributes:\n(.*?)(?:\n\s*(?:Raises|Args|Returns|Reference):|\Z)", base.__doc__ or "", re.DOTALL
        )
        for entry in re.split(r"\n {8}(?=\S)", "\n" + match[1] if match else ""):
            names, colon, text = entry.strip().partition(": ")
            if colon:
                found |= {name.strip(): text for name in names.split(",")}
    return found


def model_card() -> str:
    """The card of the shipped model as tables."""
    card = yaml.safe_load(CARD.read_text(encoding="utf-8"))
    plain = {key: value for key, value in card.items() if not isinstance(value, dict | list)}
    sections = [
        "\n".join(["| field | value |", "|---|---|", *(f"| `{k}` | {cell(str(v))} |" for k, v in plain.items())])
    ]
    for key, value in card.items():
        if isinstance(value, list):
            names = list(dict.fromkeys(name for row in value for name in row))
            rows = ["| " + " | ".join(cell(str(row.get(name, ""))) for name in names) + " |" for row in value]
            sections.append("\n".join([f"## {key}", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows]))
        elif isinstance(value, dict):
            text = yaml.safe_dump(value, sort_keys=False, width=100).rstrip()
            sections.append(f"## {key}\n\n```yaml\n{text}\n```")
    return "\n\n".join(sections) + "\n"


def tutorial() -> str:
    """The notebook as a page of docs/start: its text and its code."""
    notebook = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))
    cells = []
    for one in notebook["cells"]:
        text = "".join(one["source"])
        prose = re.sub(r"\]\((?![a-z]+:|#)", "](../", text)
        cells.append(prose if one["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(cells) + "\n"


def of_root(name: str) -> str:
    """A document of the project's root, its links as seen from docs/project."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\((?![a-z]+:|#)(?:(docs/)|)", lambda m: "](../" if m[1] else "](../../", text)


if __name__ == "__main__":
    generate()
