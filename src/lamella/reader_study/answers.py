"""The answers of one reader, from the file that the session page saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.errors import RefusedInput
from lamella.reader_study.key import Key, read_json
from lamella.reader_study.plan import Item

ANSWERS_KIND = "lamella reader-study answers"
SIDES = ("left", "right", "same")
LOWEST, HIGHEST = 1, 5

_LONGEST_MS = 1e12
_REMEDY = "Give the file that the reader's session page saved, unchanged."


@dataclass(frozen=True)
class Given:
    """One answered item.

    Attributes:
        item: what was asked.
        choice: the method preferred, or "" for the same; None for an item that is rated, or without an answer.
        side: "left", "right" or "same"; None as for `choice`.
        marks: 1 to 5 for each question, None where there is no answer; empty for a comparison.
        seconds: how long the item was on the screen.
    """

    item: Item
    choice: str | None
    side: str | None
    marks: tuple[int | None, ...]
    seconds: float


@dataclass(frozen=True)
class Answers:
    """What one reader answered.

    Attributes:
        reader: who.
        given: items with at least one answer, in the session's order.
        asked: answers a complete file has (a rated item counts once a question).
        missing: how many of them are not there.
    """

    reader: str
    given: tuple[Given, ...]
    asked: int
    missing: int


def read_answers(files: Sequence[Path], key: Key) -> tuple[Answers, ...]:
    """All readers' answers, sorted as in the key.

    Raises:
        UsageError: a file is missing.
        RefusedInput: damaged, of another study, of an unknown reader or of one that came already, an unknown item, or
            an answer that was not offered.
    """
    came_from: dict[str, Path] = {}
    answers: dict[str, Answers] = {}
    for file in files:
        one = _answers(file, key)
        if one.reader in answers:
            raise RefusedInput(
                f"Reader {one.reader} is there twice: {came_from[one.reader]} and {file}. Expected one file a reader. "
                "Leave one of them out."
            )
        answers[one.reader], came_from[one.reader] = one, file
    return tuple(answers[session.reader] for session in key.sessions if session.reader in answers)


def _answers(file: Path, key: Key) -> Answers:
    found = read_json(file, ANSWERS_KIND, _REMEDY)
    if found.get("study") != key.study:
        raise RefusedInput(
            f"The answers belong to another study. {file.name}: found study {found.get('study')!r}, the key is of "
            f"{key.study!r}. Give the key of the pages that were read."
        )
    reader = found.get("reader")
    session = key.session(reader) if isinstance(reader, str) else None
    if session is None:
        known = ", ".join(one.reader for one in key.sessions)
        raise RefusedInput(f"The reader is unknown. {file.name}: found {reader!r}, expected one of {known}. {_REMEDY}")
    items = {item.id: item for item in session.items}
    given: dict[str, Given] = {}
    entries = found.get("items")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RefusedInput(f"The answers are damaged. {file.name}: found no list of items. {_REMEDY}")
    for entry in entries:
        name = entry.get("id")
        if not isinstance(name, str) or name not in items:
            raise RefusedInput(
                f"An item is unknown. {file.name}: found {name!r}, which was not asked of {reader}. {_REMEDY}"
            )
        if name in given:
            raise RefusedInput(f"An item is answered twice. {file.name}: found {name!r} again. {_REMEDY}")
        given[name] = _given(file, items[name], entry, len(key.design.ratings))
    answered = {name: one for name, one in given.items() if one.choice is not None or any(one.marks)}
    asked = sum(len(key.design.ratings) if item.kind == "likert" else 1 for item in session.items)
    there = sum((one.choice is not None) + sum(mark is not None for mark in one.marks) for one in answered.values())
    ordered = tuple(answered[item.id] for item in session.items if item.id in answered)
    return Answers(session.reader, ordered, asked, asked - there)


def _given(file: Path, item: Item, entry: dict[str, Any], questions: int) -> Given:
    answer, milliseconds = entry.get("answer"), entry.get("milliseconds", 0)
    if not _is_number(milliseconds) or not 0 <= milliseconds < _LONGEST_MS:
        raise RefusedInput(
            f"A time is damaged. {file.name}, item {item.id}: found {milliseconds!r}, expected milliseconds from 0. "
            f"{_REMEDY}"
        )
    seconds = milliseconds / 1000
    if item.kind == "preference":
        if answer is None:
            return Given(item, None, None, (), seconds)
        if answer not in SIDES:
            raise _not_offered(file, item, answer, f"one of {', '.join(SIDES)}")
        choice = "" if answer == "same" else item.methods[SIDES.index(answer)]
        return Given(item, choice, answer, (), seconds)
    marks = [None] * questions if answer is None else answer
    if not isinstance(marks, list) or len(marks) != questions or not all(map(_is_mark, marks)):
        raise _not_offered(file, item, answer, f"{questions} marks, each {LOWEST} to {HIGHEST} or null")
    return Given(item, None, None, tuple(marks), seconds)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mark(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and LOWEST <= value <= HIGHEST)


def _not_offered(file: Path, item: Item, answer: object, expected: str) -> RefusedInput:
    return RefusedInput(
        f"An answer was not offered. {file.name}, item {item.id}: found {answer!r}, expected {expected}. {_REMEDY}"
    )
