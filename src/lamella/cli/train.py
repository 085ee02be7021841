"""`lamella train`: run, or go on with, the training that a YAML describes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lamella.cli.options import Debug, Quiet
from lamella.errors import LamellaError


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of the run, such as configs/embedded.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings that differ, such as mean.steps=100.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model. The same command resumes a run that was stopped."""
    if find_spec("lightning") is None:
        raise LamellaError("Training needs packages that are not installed. Run: pip install 'lamella[train]'")
    from lamella.config import load, save
    from lamella.train import train_embedded
    from lamella.train.settings import EmbeddedRun

    run = load(EmbeddedRun, config, overrides or ())
    save(run, Path(run.run) / "settings.yaml")
    folder = train_embedded(run)
    if not quiet:
        print(f"wrote   {folder}")
