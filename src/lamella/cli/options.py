"""Options that several verbs share, and options that follow from a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option

SOURCE = Argument(
    metavar="SOURCE", help="DICOM folder (searched recursively), ZIP, enhanced multi-frame file, or NIfTI."
)
OUTPUT = Argument(metavar="OUTPUT", help="Folder for a DICOM series, or a file ending in .nii or .nii.gz.")
SERIES = Option("--series", metavar="UID", help="SeriesInstanceUID to read, if SOURCE holds several series.")
THICKNESS = Option("--thickness-mm", help="Thickness of SOURCE's slices, if SOURCE does not state it.")
STRICT = Option("--strict", help="Refuse a series that has fewer images than its headers state.")
COMPRESS = Option("--compress", help="Compress DICOM pixels without loss, as JPEG-LS or JPEG 2000.")
REPAIR = Option("--repair", help="Repair a gantry tilt, a gap of one missing slice, or uneven spacing of SOURCE.")
SPACING = Option("--spacing-mm", help="Distance between thin slices. Default: 1.0.")
MODEL = Option(
    "--model", metavar="NAME|FOLDER", help="Model to use: the name of a model in the package, or a model folder."
)
DEIDENTIFY = Option(
    "--deidentify",
    help="Remove the patient from the result's header (basic profile of DICOM PS3.15 annex E). Pixels stay.",
)
DEIDENTIFY_KEY = Option(
    "--deidentify-key",
    metavar="FILE",
    help="Key for new UIDs and the pseudonym, at least 16 bytes. The same key gives the same ones. Default: a random key.",
)
OVERWRITE = Option("--overwrite", help="Replace an earlier result of Lamella.")

Overwrite = Annotated[bool, OVERWRITE]
Overrides = Annotated[
    list[str] | None,
    Argument(metavar="KEY=VALUE", help="Settings to override, such as out=results/mine or mean.steps=100."),
]
Quiet = Annotated[bool, Option("--quiet", help="Print no progress and no summary.")]
Debug = Annotated[
    bool,
    # Read by `main` itself; the verbs declare it so that it may stand anywhere on the line.
    Option("--debug", help="Show the traceback of a failure: places and types of errors, no values."),
]
Json = Annotated[bool, Option("--json", help="Print JSON.")]

SOME_FAILED = 8
"""Exit code where some of several cases failed."""


def options_of(words: Mapping[str, Any], *declared: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb that takes `**asked` the options that dataclasses declare.

    Args:
        words: what each option is called and says, by field, in the order of the help.
        declared: dataclasses that give types and defaults; where two have a field of one name, the first.
    """
    hints, defaults = dict[str, Any](), dict[str, Any]()
    for kind in reversed(declared):
        hints |= get_type_hints(kind)
        defaults |= {
            one.name: inspect.Parameter.empty if one.default is MISSING else one.default for one in fields(kind)
        }

    def with_options(verb: Callable[..., None]) -> Callable[..., None]:
        parameters = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=Annotated[hints[name], option]
            )
            for name, option in words.items()
        ]
        for own in inspect.signature(verb, eval_str=True).parameters.values():
            if own.kind is not inspect.Parameter.VAR_KEYWORD:
                parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        verb.__dict__["__signature__"] = inspect.Signature(parameters)
        verb.__annotations__ = {one.name: one.annotation for one in parameters}
        return verb

    return with_options
