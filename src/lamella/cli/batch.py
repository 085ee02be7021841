"""`lamella batch SOURCE... OUT` and `lamella batch merge OUT...`: many series with one model."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from lamella.cli import thin
from lamella.cli.options import SOME_FAILED, Debug, Overwrite, Quiet, options_of
from lamella.cli.progress import Progress
from lamella.errors import UsageError
from lamella.thinning.settings import ThinSettings
from lamella.workflow.thin_study import ONE_STUDY, ThinRequest

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from lamella.batch.crew import Crew
    from lamella.batch.record import BatchRecord
    from lamella.batch.run import BatchRequest, Standing
    from lamella.selection.rules import Decision

OPTIONS = {name: words for name, words in thin.OPTIONS.items() if name not in ONE_STUDY}
RUN = "run"


class _RunByDefault(TyperGroup):
    """`lamella batch SOURCE... OUT` is `lamella batch run SOURCE... OUT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


def verbs() -> typer.Typer:
    """The two verbs."""
    app = typer.Typer(
        cls=_RunByDefault,
        rich_markup_mode=None,
        no_args_is_help=True,
        help="Thin many series.\n\n`lamella batch SOURCE... OUT` is short for `lamella batch run SOURCE... OUT`.",
    )
    app.command(RUN)(run)
    app.command("merge")(merge)
    return app


@options_of(OPTIONS, ThinRequest, ThinSettings)
def run(
    sources: Annotated[
        list[Path], Argument(metavar="SOURCE...", help="Folders (searched recursively), ZIPs, DICOM or NIfTI files.")
    ],
    out: Annotated[
        Path, Argument(metavar="OUT", help="Folder for all results: one folder for each series, records and a page.")
    ],
    rules: Annotated[
        Path | None,
        Option(
            "--rules",
            metavar="FILE.yaml",
            help="Rules that choose series. Default: the thickest CT series of each study.",
        ),
    ] = None,
    workers: Annotated[
        int, Option("--workers", min=1, help="Number of processes. Each has a model and its share of the cores.")
    ] = 1,
    threads: Annotated[
        int | None,
        Option(
            "--threads",
            min=1,
            help="Threads of each worker. Default: OMP_NUM_THREADS, or an equal share of the cores.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        Option(
            "--ray",
            metavar="ADDRESS",
            help="Run the workers on this Ray cluster; local starts a cluster on this machine.",
        ),
    ] = None,
    gpus: Annotated[
        float, Option("--gpus", min=0.0, help="With --ray: GPUs for each worker. 0.5 lets two workers share one GPU.")
    ] = 0.0,
    part: Annotated[
        str | None,
        Option(
            "--part", metavar="I/N", help="Do part I of N. In Slurm arrays and indexed jobs it is set automatically."
        ),
    ] = None,
    spread: Annotated[
        bool, Option("--spread", help="Also write the predicted standard deviation of each series.")
    ] = False,
    pages: Annotated[bool, Option("--pages", help="Also write a page with the volumes of each series.")] = False,
    previews: Annotated[bool, Option("--previews", help="Also write a large picture of each series.")] = False,
    bids: Annotated[
        bool,
        Option("--bids", help="Also give thin series of sub-*_ct.nii.gz their BIDS names in OUT."),
    ] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool,
        Option("--dry-run", help="Say which series would be thinned, and why the others would not; write nothing."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
    **asked: Any,
) -> None:
    """Thin every suitable series below SOURCE.

    After an interruption, run the same command again: it keeps complete results of the same content and settings. Exit
    code 8: a series was refused or failed; the others are done.
    """
    from lamella.batch.making import Making
    from lamella.batch.parts import part_of
    from lamella.batch.run import BatchRequest, plan_batch, run_batch
    from lamella.files.config import load
    from lamella.machine.extras import require
    from lamella.selection.rules import SeriesRules

    wanted = ThinRequest.of(source=sources[0], output=out, **asked)
    making = Making(out, wanted, spread, pages, previews, bids, overwrite)
    chosen = SeriesRules() if rules is None else load(SeriesRules, rules)
    request = BatchRequest(tuple(sources), making, chosen, part_of(part))
    with Progress(quiet) as progress:
        if dry_run:
            _say_plan(plan_batch(request, progress.update), request, progress)
            return
        require("report", "The page of a batch")
        from lamella.batch.page import INDEX, write_page
        from lamella.batch.processes import Processes
        from lamella.batch.record import stem_of

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does

        def crew(making: Making) -> AbstractContextManager[Crew[Any]]:
            if ray is None:
                return Processes(making, workers, threads)
            require("cluster", "--ray")
            if threads is not None:
                raise UsageError("With --ray the cluster's processors are shared out. Found --threads. Leave it out.")
            from lamella.batch.ray_actors import RayActors

            return RayActors(making, workers, ray, gpus)

        record = run_batch(request, crew, progress.update, lambda one: _say_case(one, progress))
        write_page(out, record, INDEX if request.part is None else f"{stem_of(request.part)}.html")
    _end(record, out, progress)


def merge(
    outs: Annotated[
        list[Path], Argument(metavar="OUT...", help="Folders of the parts. Records and page go into the first.")
    ],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Join the records of parts.

    Writes batch.json, batch.csv and index.html. Exit code 8: a series was refused or failed.
    """
    from lamella.batch.merge import merge_parts

    progress = Progress(quiet)
    _end(merge_parts(outs), outs[0], progress)


def _say_plan(decisions: list[Decision], request: BatchRequest, progress: Progress) -> None:
    for one in decisions:
        summary, name = one.series.summary, one.series.id
        if one.verdict == "chosen":
            there = " (a result is there)" if (request.making.out / name).is_dir() else ""
            progress.say(
                f"would thin    {name}: {summary.slices} slices, {summary.thickness_mm:.4g} mm thick every "
                f"{summary.spacing_mm:.4g} mm{there}"
            )
        else:
            what = "would refuse" if one.verdict == "refused" else one.verdict
            progress.say(f"{what:13} {name}: {one.reason}")
    counts = Counter(one.verdict for one in decisions)
    progress.say(", ".join(f"{counts[name]} {name}" for name in ("chosen", "refused", "passed over")))


def _say_case(standing: Standing, progress: Progress) -> None:
    case = standing.finished.record
    what = "kept" if standing.finished.kept else case.state
    facts = f"{case.seconds:.1f} s" if case.state == "done" else case.reason
    left = (
        ""
        if standing.left_s is None or standing.ended == standing.total
        else f", about {_duration(standing.left_s)} left"
    )
    progress.say(f"{standing.ended}/{standing.total} {what} {case.series} ({facts}){left}")


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _end(record: BatchRecord, out: Path, progress: Progress) -> None:
    progress.say(
        f"wrote   {out}: {record.count('done')} series done, {record.count('refused')} refused, "
        f"{record.count('failed')} failed, {record.count('passed over')} passed over"
    )
    if missing := record.count("refused", "failed"):
        typer.echo(f"{missing} series have no result. {out} says why: batch.csv, and the page.", err=True)
        raise typer.Exit(SOME_FAILED)
