"""The verbs, gathered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lamella import RESEARCH_ONLY, __version__
from lamella.cli import (
    batch,
    degrade,
    demo,
    evaluate,
    info,
    inspect,
    mercure,
    models,
    prepare,
    reader,
    report,
    serve,
    thin,
    train,
)

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _version(asked: bool) -> None:
    if asked:
        print(f"lamella {__version__}\n{RESEARCH_ONLY}")
        raise typer.Exit(0)


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def command() -> Any:
    """The command of the whole program, help in plain text (no markup, so that it is quick and can be committed)."""
    app = typer.Typer(
        rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, context_settings=_CONTEXT
    )
    app.callback(
        help=f"Lamella turns thick-slice CT into thin-slice CT and keeps what was measured.\n\n{RESEARCH_ONLY}",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 input refused, 8 some of several cases failed.",
        no_args_is_help=True,
    )(_root)
    app.command("thin")(thin.thin)
    app.add_typer(batch.verbs(), name="batch")
    app.command("inspect")(inspect.inspect)
    app.command("degrade")(degrade.degrade)
    app.command("demo")(demo.demo)
    app.command("prepare")(prepare.prepare)
    app.command("train")(train.train)
    app.command("evaluate")(evaluate.evaluate)
    app.command("report")(report.report)
    app.command("serve")(serve.serve)
    app.command("mercure")(mercure.mercure)
    app.add_typer(reader.verbs(), name="reader")
    app.add_typer(models.verbs(), name="models")
    app.command("info")(info.info)
    return typer.main.get_command(app)
