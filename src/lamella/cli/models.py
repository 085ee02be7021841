"""`lamella models list|verify`: which models there are, and whether they are whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from lamella.cli.options import Debug, Json, Quiet


def verbs() -> typer.Typer:
    """The two verbs."""
    app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="List or verify models.")
    app.command("list")(list_)
    app.command("verify")(verify)
    return app


def list_(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the models in the package."""
    from lamella.model import list_models

    entries = list_models()
    if as_json:
        print(json.dumps([{**asdict(entry), "folder": str(entry.folder)} for entry in entries], indent=2))
        return
    for entry in entries:
        print(f"{entry.name}  {entry.size_bytes / 1e6:.1f} MB  {entry.licence}  SHA-256 {entry.sha256}")
        if not quiet:
            print(f"  {entry.description}\n  {entry.folder}")


def verify(
    model: Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="Which model; all in the package if none.")] = "",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check a model's files: complete, unaltered (SHA-256), every weight finite."""
    from lamella.model import list_models
    from lamella.model import verify as verify_model

    for name in [model] if model else [str(entry.folder) for entry in list_models()]:
        found = verify_model(name)
        if not quiet:
            print(f"{found.name}: complete, SHA-256 {found.sha256}, licence {found.licence}")
