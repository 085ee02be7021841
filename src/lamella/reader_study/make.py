"""A study from STUDIES: plan it, pack what is shown, write pages and key."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lamella.errors import UsageError
from lamella.files.atomic import staged_file, staged_folder
from lamella.files.output_checks import check_output
from lamella.reader_study.cases import Case, Slab, find_cases, fingerprint, read_case
from lamella.reader_study.key import KEY_README, Key, Shown, key_text
from lamella.reader_study.page import PackedCase, pack_case, session_page
from lamella.reader_study.plan import LIKERT_QUESTIONS, PREFERENCE_QUESTION, Design, choose_pairs, plan_session
from lamella.thinning.result import Progress

PAGES, KEY = "pages", "key"
_PARTS = (f"{PAGES}/*", f"{KEY}/*")
"""What a kit's folder holds."""

_KEY_FILES = ("key.json", "README.txt")
_PAGE_FILES = ("session-R*.html",)


@dataclass(frozen=True)
class Request:
    """What `make_study` shall do; empty or None: the default.

    Attributes:
        studies: folder with one folder a case.
        out: folder to write.
        readers: how many.
        kind: what is asked.
        pairs: of methods, "A:B"; all if none.
        questions: to rate.
        preference: to ask of a pair.
        repeat: share of items shown twice.
        slab: as `Slab.parse` takes it.
        budget_bytes: for the images of one page.
        seed: of order and sides.
        key: where the key goes, outside `out`.
        overwrite: replace an earlier study.
    """

    studies: Path
    out: Path
    readers: int = 1
    kind: Literal["preference", "likert", "both"] = "both"
    pairs: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    preference: str = ""
    repeat: float = 0.1
    slab: str | None = None
    budget_bytes: int = 100_000_000
    seed: int = 0
    key: Path | None = None
    overwrite: bool = False

    @property
    def key_file(self) -> Path:
        """Where the key will be."""
        return self.key or self.out / KEY / _KEY_FILES[0]


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        request: from what.
        key: the key.
        page_bytes: size of each page.
        notes: what to know about the images.
    """

    request: Request
    key: Key
    page_bytes: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())

    def lines(self) -> list[str]:
        """For a terminal."""
        items = [len(session.items) for session in self.key.sessions]
        pages = self.request.out / PAGES
        span = f"session-{self.key.sessions[0].reader}.html"
        if len(items) > 1:
            span += f" to session-{self.key.sessions[-1].reader}.html"
        return [
            f"study   {self.key.study}: {len(self.key.design.cases)} cases, {len(self.key.design.methods)} methods "
            f"({', '.join(self.key.design.methods)})",
            *(f"note    {note}" for note in self.notes),
            f"wrote   {pages}: {span}, {items[0]} items each, {max(self.page_bytes) / 1e6:.1f} MB a page",
            f"wrote   {self.request.key_file}: keep it from the readers",
        ]


def make_study(request: Request, progress: Progress) -> Made:
    """Write a study's pages and key; nothing appears if anything fails.

    Args:
        request: what to do.
        progress: called with (stage, fraction done).

    Raises:
        UsageError: a request that cannot be met, or an OUT that exists.
        RefusedInput: sources that cannot be compared.
        LamellaError: images that do not fit the page.
    """
    cases = find_cases(request.studies)
    design = _design(request, cases)
    slab = None if request.slab is None else Slab.parse(request.slab)
    _check_places(request)
    wanted = {method for _, method in plan_session(design, 1).volumes}
    shown, packed = _read_and_pack(cases, slab, wanted, request.budget_bytes, progress)
    sessions = tuple(plan_session(design, number) for number in range(1, request.readers + 1))
    key = Key(design, tuple(shown), sessions)
    sizes = _write(request, key, packed, progress)
    return Made(request, key, sizes, tuple(_notes(shown, packed, cases, wanted)))


def _read_and_pack(
    cases: tuple[Case, ...],
    slab: Slab | None,
    wanted: set[str],
    budget_bytes: int,
    progress: Progress,
) -> tuple[list[Shown], dict[str, PackedCase]]:
    """What was read, and every case packed; all as finely as possible if that fits, else with the same loss for all."""
    shown: list[Shown] = []
    packed: dict[str, PackedCase] = {}
    sizes: dict[str, int] = {}
    for number, case in enumerate(cases):
        progress("read", number / len(cases))
        volumes = read_case(case, slab)
        shown += [Shown(case.name, m, case.sources[m].name, fingerprint(volume)) for m, volume in volumes.items()]
        fine = pack_case(case.name, {m: volume for m, volume in volumes.items() if m in wanted}, budget_bytes)
        sizes[case.name] = fine.bytes
        if sum(sizes.values()) <= budget_bytes:
            packed[case.name] = fine
    progress("read", 1.0)
    total = sum(sizes.values())
    if total > budget_bytes:
        for number, case in enumerate(cases):
            progress("pack", number / len(cases))
            volumes = {m: volume for m, volume in read_case(case, slab).items() if m in wanted}
            packed[case.name] = pack_case(case.name, volumes, budget_bytes * sizes[case.name] // total)
        progress("pack", 1.0)
    return shown, packed


def _design(request: Request, cases: tuple[Case, ...]) -> Design:
    methods = tuple(cases[0].sources)
    compared, rated = request.kind != "likert", request.kind != "preference"
    if request.pairs and not compared:
        raise UsageError("--pairs is for comparisons. Found --kind likert. Leave one of them out.")
    if request.preference and not compared:
        raise UsageError("--preference-question is for comparisons. Found --kind likert. Leave one of them out.")
    if request.questions and not rated:
        raise UsageError("--question is for ratings. Found --kind preference. Leave one of them out.")
    return Design(
        cases=tuple(case.name for case in cases),
        methods=methods,
        pairs=choose_pairs(methods, request.pairs) if compared else (),
        preference=request.preference or PREFERENCE_QUESTION,
        ratings=(request.questions or LIKERT_QUESTIONS) if rated else (),
        repeat=float(request.repeat),
        seed=request.seed,
    )


def _check_places(request: Request) -> None:
    """Refuse before the reading what would be refused after it, and never replace what somebody else wrote."""
    overwrite = request.overwrite
    check_output(request.out, request.studies, overwrite=overwrite, replaceable=_PARTS)
    for name, patterns in ((PAGES, _PAGE_FILES), (KEY, _KEY_FILES)):
        check_output(request.out / name, None, overwrite=overwrite, replaceable=patterns)
    if request.key is None:
        return
    if request.key.suffix != ".json":
        raise UsageError(f"--key is a .json file. Found {request.key.name}. Choose a name that ends in .json.")
    if request.out.resolve() in request.key.resolve().parents:
        raise UsageError(
            f"--key lies inside OUT: {request.key}. Leave --key out ({request.key_file.parent.name}/ is made there), or "
            "choose a place outside OUT."
        )
    check_output(request.key, None, overwrite=overwrite, folder=False)


def _write(request: Request, key: Key, packed: dict[str, PackedCase], progress: Progress) -> tuple[int, ...]:
    sizes = []
    with ExitStack() as stack:
        new = stack.enter_context(staged_folder(request.out, overwrite=request.overwrite, replaceable=_PARTS))
        if request.key is None:
            (new / KEY).mkdir()
            (new / KEY / "README.txt").write_text(KEY_README, encoding="utf-8")
            key_file = new / KEY / _KEY_FILES[0]
        else:
            # Entered last, so put in place first: pages without a key would be worse than a key without pages.
            key_file = stack.enter_context(staged_file(request.key, overwrite=request.overwrite))
        key_file.write_text(key_text(key), encoding="utf-8")
        (new / PAGES).mkdir()
        for number, session in enumerate(key.sessions):
            progress("write", number / len(key.sessions))
            page = session_page(key, session, packed).encode()
            (new / PAGES / f"session-{session.reader}.html").write_bytes(page)
            sizes.append(len(page))
    progress("write", 1.0)
    return tuple(sizes)


def _notes(shown: list[Shown], packed: dict[str, PackedCase], cases: tuple[Case, ...], wanted: set[str]) -> list[str]:
    notes = []
    for case in cases:
        seen: dict[str, str] = {}
        for one in shown:
            if one.case == case.name and one.sha256 in seen:
                notes.append(f"{case.name}: {seen[one.sha256]} and {one.method} hold the same voxels")
            elif one.case == case.name:
                seen[one.sha256] = one.method
    unused = sorted({one.method for one in shown} - wanted)
    if unused:
        notes.append(f"not asked about: {', '.join(unused)}")
    return notes + sorted({one.note for one in packed.values() if one.note})
