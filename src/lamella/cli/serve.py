"""`lamella serve`: a DICOM node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamella.cli.options import Debug, Overrides


def serve(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of the node, such as configs/node.yaml.")],
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Run a DICOM node: receive, thin and send studies.

    It thins the series that its rules choose, and sends results to the peers that CONFIG names. It runs until SIGTERM or
    Ctrl-C. Unfinished studies continue at the next start.
    """
    from lamella.files.config import load
    from lamella.machine.extras import require

    require("node", "A node")
    from lamella.node.serve import serve as run
    from lamella.node.settings import NodeSettings

    run(load(NodeSettings, config, overrides or ()))
