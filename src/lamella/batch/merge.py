"""Parts of a batch become one: the records and the page. The results stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lamella.batch.page import write_page
from lamella.batch.record import BATCH, BatchRecord, CaseRecord, in_order, read_records, write_records
from lamella.errors import UsageError
from lamella.machine.extras import require

_BEST_FIRST = ("done", "failed", "refused", "passed over")


def merge_parts(outs: Sequence[Path]) -> BatchRecord:
    """Join what parts wrote, in one folder or several, into batch.json, batch.csv and index.html in the first.

    Raises:
        UsageError: no records; parts of different settings or rules; or a part that is missing or has not ended.
        LamellaError: records that cannot be read.
    """
    require("report", "The page of a batch")
    found = [(out, read_records(path)) for out in outs for path in _records(out)]
    first = found[0][1]
    for out, one in found:
        if (one.rules, one.settings, one.lamella) != (first.rules, first.settings, first.lamella):
            raise UsageError(
                f"The parts do not belong together: {out} holds records of other rules, settings or another version. Give "
                "the folders of one batch."
            )
    _check_complete([one for _, one in found])
    best: dict[str, tuple[CaseRecord, Path]] = {}
    for out, one in found:
        for case in one.cases:
            rival = best.setdefault(case.series, (case, out))
            best[case.series] = min(rival, (case, out), key=_rank)
    merged = replace(first, finished=True, part=None, cases=in_order(case for case, _ in best.values()))
    write_records(outs[0], merged)
    write_page(outs[0], merged, places={name: out / case.folder for name, (case, out) in best.items()})
    return merged


def _rank(found: tuple[CaseRecord, Path]) -> tuple[int, bool]:
    """The best result first, and of equal ones that which is there: a joined record names others' results, too."""
    case, out = found
    return _BEST_FIRST.index(case.state), not (out / case.folder).is_dir()


def _records(out: Path) -> list[Path]:
    """The records of parts in a folder; where there is none, those of the whole."""
    found = sorted(out.glob(f"{BATCH}-*-of-*.json")) or sorted(out.glob(f"{BATCH}.json"))
    if not found:
        raise UsageError(f"{out} holds no records of a batch. Expected {BATCH}-1-of-N.json and so on.")
    return found


def _check_complete(found: Sequence[BatchRecord]) -> None:
    running = [one.part or "the whole" for one in found if not one.finished]
    if running:
        raise UsageError(f"Parts have not ended: {', '.join(running)}. Run each again, with the same command.")
    parts = {one.part for one in found if one.part is not None}
    counts = {part.split("/")[1] for part in parts}
    if len(counts) > 1:
        raise UsageError(
            f"Parts of different batches: of {' and of '.join(sorted(counts))}. Give the folders of one batch."
        )
    missing = [f"{n}/{count}" for count in counts for n in range(1, int(count) + 1) if f"{n}/{count}" not in parts]
    if missing:
        raise UsageError(f"Parts are missing: {', '.join(missing)}. Run them, or give their folders, too.")
