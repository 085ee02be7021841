"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="DICOM folder (searched recursively), ZIP, enhanced file, or NIfTI.")
]
Output = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="Folder for a DICOM series, or a file ending in .nii or .nii.gz.")
]
Series = Annotated[
    str | None,
    typer.Option("--series", metavar="UID", help="SeriesInstanceUID to read, where SOURCE holds several."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]
Debug = Annotated[
    bool,
    # Read by `main` itself; the verbs declare it so that it may stand anywhere on the line.
    typer.Option("--debug", help="Show the traceback of a failure; it may quote header values."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

SOME_FAILED = 8
"""Exit code where some of several cases failed."""
