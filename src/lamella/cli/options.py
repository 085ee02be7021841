"""Options that several verbs share, and options that follow from a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option

SOURCE = Argument(metavar="SOURCE", help="DICOM folder (searched recursively), ZIP, enhanced file, or NIfTI.")
OUTPUT = Argument(metavar="OUTPUT", help="Folder for a DICOM series, or a file ending in .nii or .nii.gz.")
SERIES = Option("--series", metavar="UID", help="SeriesInstanceUID to read, where SOURCE holds several.")
THICKNESS = Option("--thickness-mm", help="Thickness of SOURCE's slices, where SOURCE does not say it.")
STRICT = Option("--strict", help="Refuse a series that lacks parts which its headers promise.")
COMPRESS = Option("--compress", help="Compress DICOM pixels without loss, as JPEG-LS or JPEG 2000.")
REPAIR = Option("--repair", help="Repair SOURCE: a gantry tilt, a gap of one missing slice, or uneven spacing.")
SPACING = Option("--spacing-mm", help="Distance between thin slices; 1.0 if nothing is asked for.")
MODEL = Option("--model", metavar="NAME|FOLDER", help="Which model.")
DEIDENTIFY = Option(
    "--deidentify", help="Keep nothing of the patient in the result: basic profile of DICOM PS3.15 annex E."
)
DEIDENTIFY_KEY = Option(
    "--deidentify-key",
    metavar="FILE",
    help="Key of new UIDs and of the pseudonym, at least 16 bytes; the same key gives the same ones. Random if not given.",
)
OVERWRITE = Option("--overwrite", help="Replace earlier results.")

Overwrite = Annotated[bool, OVERWRITE]
Overrides = Annotated[
    list[str] | None,
    Argument(metavar="KEY=VALUE", help="Settings that differ from CONFIG, such as out=results/mine or mean.steps=100."),
]
Quiet = Annotated[bool, Option("--quiet", help="No progress, no summary.")]
Debug = Annotated[
    bool,
    # Read by `main` itself; the verbs declare it so that it may stand anywhere on the line.
    Option("--debug", help="Show the traceback of a failure: places and types, no values."),
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
