"""`lamella reader make|score`: a blinded reader study, and what its answers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from lamella.cli.options import Debug, Overwrite, Quiet
from lamella.cli.progress import Progress
from lamella.errors import UsageError

KindName = Literal["preference", "likert", "both"]


def verbs() -> typer.Typer:
    """The two verbs."""
    app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Make and score a blinded reader study.")
    app.command("make")(make)
    app.command("score")(score)
    return app


def make(
    studies: Annotated[
        Path,
        typer.Argument(
            metavar="STUDIES", help="Folder with one folder for each case; in it one source for each method."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the session pages and the key.")],
    readers: Annotated[int, typer.Option("--readers", min=1, max=99, help="Number of readers. Each gets a page.")] = 1,
    kind: Annotated[
        KindName, typer.Option("--kind", help="Compare two methods, rate single volumes from 1 to 5, or both.")
    ] = "both",
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--pairs", metavar="A:B", help="Compare only these two methods. May be repeated. Default: all pairs."
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question", metavar="TEXT", help="Question to rate, instead of the default ones. May be repeated."
        ),
    ] = None,
    preference_question: Annotated[
        str | None,
        typer.Option(
            "--preference-question", metavar="TEXT", help="Question about two images, instead of the default one."
        ),
    ] = None,
    repeat: Annotated[float, typer.Option("--repeat", min=0.0, max=0.5, help="Share of items shown twice.")] = 0.1,
    slab_mm: Annotated[
        str | None,
        typer.Option("--slab-mm", metavar="WIDTH|FROM:TO", help="Show only the central WIDTH mm, or this range."),
    ] = None,
    megabytes: Annotated[
        float, typer.Option("--megabytes", min=1.0, max=500.0, help="Largest size of the images in a page.")
    ] = 100.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of order and sides. Keep it with the key.")] = 0,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="File for the key. Default: OUT/key/key.json.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a blinded page for each reader, and the key.

    The pages open from disk, without a network. Keep the key from the readers.
    """
    from lamella.reader_study.make import Request, make_study

    request = Request(
        studies=studies,
        out=out,
        readers=readers,
        kind=kind,
        pairs=tuple(pairs or ()),
        questions=tuple(question or ()),
        preference=preference_question or "",
        repeat=repeat,
        slab=slab_mm,
        budget_bytes=int(megabytes * 1e6),
        seed=seed,
        key=key,
        overwrite=overwrite,
    )
    with Progress(quiet) as progress:
        made = make_study(request, progress.update)
        for line in made.lines():
            progress.say(line)


def score(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="key.json of the study.")],
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS", help="Files that the readers' pages saved.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write all scores as JSON.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score the readers' answers.

    Prints preferences, ratings and agreement.
    """
    if json_file is not None and not json_file.name.endswith(".json"):
        raise UsageError(f"--json writes a .json file. Found {json_file.name}. Choose a name that ends in .json.")
    from lamella.files.atomic import staged_file
    from lamella.files.output_checks import check_output
    from lamella.reader_study.answers import read_answers
    from lamella.reader_study.key import read_key
    from lamella.reader_study.score import score as score_study
    from lamella.reader_study.text import summary

    if json_file is not None:
        check_output(json_file, None, overwrite=overwrite, folder=False)
    study = read_key(key)
    found = score_study(study, read_answers(answers, study))
    if json_file is not None:
        with staged_file(json_file, overwrite=overwrite) as new:
            new.write_text(json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if not quiet:
        print(summary(found))
