"""`lamella train`: run, or go on with, the training that a YAML describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lamella.cli.options import Debug, Overrides, Quiet
from lamella.errors import UsageError

_KINDS = ("embedded", "autoencoder", "latent")


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of the run, such as configs/embedded.yaml.")],
    overrides: Overrides = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a model.

    The same command resumes a stopped run. `kind` in CONFIG says what is trained: embedded (the default), autoencoder (a
    codec) or latent (the reference system's diffusion model).
    """
    from lamella.files.config import load, plain, save
    from lamella.machine.extras import require

    require("train", "Training")
    from lamella.train.same_run import SETTINGS, is_begun, refuse_other_run

    settings, start = _trainer(config, overrides or ())
    run = load(settings, config, overrides or ())
    file = Path(run.run) / SETTINGS
    if is_begun(file.parent) and file.is_file():
        refuse_other_run(file.parent, plain(run), plain(load(settings, file)))
    save(run, file)
    folder = start(run)
    if not quiet:
        print(f"wrote   {folder}")


def _trainer(config: Path, overrides: Sequence[str]) -> tuple[type[Any], Callable[[Any], Path]]:
    """(settings, what trains them) for the `kind` that a config names.

    Raises:
        UsageError: an unknown kind, or a config that cannot be read.
    """
    kind = _kind(config, overrides)
    if kind == "autoencoder":
        from lamella.train.vae import VaeRun, train_vae

        return VaeRun, train_vae
    if kind == "latent":
        from lamella.train.latent import LatentRun, train_latent

        return LatentRun, train_latent
    from lamella.train import EmbeddedRun, train_embedded

    return EmbeddedRun, train_embedded


def _kind(config: Path, overrides: Sequence[str]) -> str:
    """What `kind` says, embedded if nothing; a config that is no YAML mapping is left to `load`, which says why."""
    import yaml

    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return _KINDS[0]
    kind = values.get("kind", _KINDS[0]) if isinstance(values, dict) else _KINDS[0]
    for override in overrides:
        key, _, text = override.partition("=")
        kind = text if key == "kind" else kind
    if kind not in _KINDS:
        raise UsageError(f"kind must be one of {', '.join(_KINDS)}. Found {kind!r} in {config}.")
    return str(kind)
