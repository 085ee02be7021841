"""`lamella models list|verify|import`: which models there are, whether they are whole, and foreign weights as a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from lamella.cli.options import Debug, Json, Overwrite, Quiet
from lamella.errors import UsageError


def verbs() -> typer.Typer:
    """The three verbs."""
    app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="List, verify or import models.")
    app.command("list")(list_)
    app.command("verify")(verify)
    app.command("import")(import_)
    return app


def list_(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the models in the package."""
    from lamella.models.shipped import list_models

    entries = list_models()
    if as_json:
        print(json.dumps([{**asdict(entry), "folder": str(entry.folder)} for entry in entries], indent=2))
        return
    for entry in entries:
        print(f"{entry.name}  {entry.size_bytes / 1e6:.1f} MB  {entry.licence}  SHA-256 {entry.sha256}")
        if not quiet:
            print(f"  {entry.description}\n  {entry.folder}")


def verify(
    model: Annotated[
        str, typer.Argument(metavar="NAME|FOLDER", help="Model to check. Default: all models in the package.")
    ] = "",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check the files of a model.

    They must be complete and unaltered (SHA-256), and every weight must be finite.
    """
    from lamella.models.registry import verify as verify_model
    from lamella.models.shipped import find_model, list_models
    from lamella.networks.folder import read_card

    for folder in [find_model(model)] if model else [entry.folder for entry in list_models()]:
        verify_model(folder)
        card = read_card(folder)
        if not quiet:
            print(f"{card['name']}: complete, SHA-256 {card['weights_sha256']}, licence {card['licence']}")


def import_(
    family: Annotated[
        Literal["maisi"], typer.Argument(metavar="maisi", help="Origin of the weights: MAISI's autoencoder.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint (.pt), as its authors publish it.")],
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Model folder to write.")] = Path("maisi"),
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Confirm that you have read the licence of the weights and accept it."),
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Import published weights of an autoencoder.

    Makes a model folder from a file that you have. Nothing is downloaded.
    """
    from lamella.codecs.folder import load_codec, save_codec
    from lamella.codecs.maisi import LICENCE, REPOSITORY, TERMS, import_maisi
    from lamella.files.atomic import sha256_of
    from lamella.files.output_checks import check_output
    from lamella.networks.folder import CARD, WEIGHTS, read_card

    if not (quiet and accept_licence):
        print(TERMS)
    if not accept_licence:
        raise UsageError("Nothing was imported. Read the terms named above, then give --accept-licence.")
    check_output(output, file, overwrite=overwrite, replaceable=(WEIGHTS, CARD))
    codec = import_maisi(file)
    about = {
        "name": "maisi",
        "licence": LICENCE,
        "description": "MAISI's autoencoder: 4 x 4 x 4 voxels to 4 channels. The latent scale is not measured yet.",
        "source": {"family": family, "repository": REPOSITORY, "file": file.name, "sha256": sha256_of(file)},
        "terms_accepted": True,
    }
    save_codec(output, codec, about, overwrite=overwrite)
    load_codec(output)
    if not quiet:
        tensors = codec.network.state_dict().values()
        print(
            f"{output}: {len(tensors)} tensors, {sum(t.numel() for t in tensors):,} parameters, SHA-256 "
            f"{read_card(output)['weights_sha256']}"
        )
