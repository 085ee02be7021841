"""Answer files and keys that are refused, each with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.reader_study.studies import answers_of, choose, saved, small_key

from lamella.errors import RefusedInput, UsageError
from lamella.reader_study.answers import read_answers
from lamella.reader_study.key import Key, key_text, read_key
from lamella.reader_study.plan import Design

DESIGN = Design(("case-01", "case-02"), ("a", "b"), (("a", "b"),), ratings=("Sharpness", "Noise"))


@pytest.fixture
def key() -> Key:
    return small_key(DESIGN, 2)


def good(key: Key, reader: str = "R1") -> dict[str, Any]:
    return answers_of(key, reader, lambda item: choose(item, "b", 2))


def test_a_key_comes_back_as_it_was(key: Key, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(key_text(key))
    assert read_key(file) == key


def test_answers_come_back_as_methods(key: Key, tmp_path: Path) -> None:
    files = [saved(tmp_path, good(key, reader)) for reader in ("R2", "R1")]
    found = read_answers(files, key)
    assert [one.reader for one in found] == ["R1", "R2"]
    for one in found:
        assert one.missing == 0
        assert one.asked == 4 * 2 + 2 + 2 + 1  # four volumes and two comparisons, one of each again
        for given in one.given:
            assert given.seconds == 2.0
            assert given.choice == ("b" if given.item.kind == "preference" else None)
            assert given.marks in {(), (5, 5), (2, 2)}


def spoil(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda answers: answers.__setitem__(name, value)


def spoil_item(kind: type, name: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Changes the first item that is answered by a list (a rating) or by a word (a comparison)."""

    def change(answers: dict[str, Any]) -> None:
        next(item for item in answers["items"] if isinstance(item["answer"], kind))[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("study", "0123456789abcdef"), r"another study\. answers-R1\.json: found study '0123456789abcdef'"),
        (spoil("study", None), r"another study"),
        (spoil("kind", "lamella report"), r"another kind\. answers-R1\.json: found 'lamella report'"),
        (spoil("reader", "R3"), r"reader is unknown\. answers-R1\.json: found 'R3', expected one of R1, R2"),
        (spoil("reader", ["R1"]), r"reader is unknown"),
        (spoil("items", None), r"found no list of items"),
        (spoil("items", ["v0000000"]), r"found no list of items"),
        (spoil_item(str, "id", "v0000000"), r"item is unknown\. answers-R1\.json: found 'v0000000'"),
        (spoil_item(str, "id", ["x"]), r"item is unknown"),
        (spoil_item(str, "answer", "middle"), r"not offered.*found 'middle', expected one of left, right, same"),
        (spoil_item(str, "answer", [1, 2]), r"not offered"),
        (spoil_item(list, "answer", "left"), r"found 'left', expected 2 marks, each 1 to 5 or null"),
        (spoil_item(list, "answer", [6, 1]), r"found \[6, 1\], expected 2 marks"),
        (spoil_item(list, "answer", [0, 1]), r"expected 2 marks"),
        (spoil_item(list, "answer", [True, 1]), r"expected 2 marks"),
        (spoil_item(list, "answer", [2.5, 1]), r"expected 2 marks"),
        (spoil_item(list, "answer", [1]), r"expected 2 marks"),
        (spoil_item(str, "milliseconds", -1), r"time is damaged.*found -1"),
        (spoil_item(str, "milliseconds", float("nan")), r"time is damaged.*found nan"),
        (spoil_item(str, "milliseconds", "soon"), r"time is damaged"),
        (lambda answers: answers["items"].append(answers["items"][0]), r"item is answered twice"),
    ],
)
def test_spoilt_answers(key: Key, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    answers = good(key)
    change(answers)
    file = tmp_path / "answers-R1.json"
    file.write_text(json.dumps(answers))
    with pytest.raises(RefusedInput, match=message):
        read_answers([file], key)


def test_damaged_and_missing_files(key: Key, tmp_path: Path) -> None:
    file = saved(tmp_path, good(key))
    text = file.read_text()
    for broken in (text[: len(text) // 2], "", "\xff\xfe", "[" * 100_000):
        file.write_bytes(broken.encode("latin-1"))
        with pytest.raises(RefusedInput, match=r"answers-R1\.json is not JSON"):
            read_answers([file], key)
    file.write_text("[1]")
    with pytest.raises(RefusedInput, match=r"another kind\. answers-R1\.json: found 'list'"):
        read_answers([file], key)
    with pytest.raises(UsageError, match=r"No such file: .*answers-R9\.json"):
        read_answers([tmp_path / "answers-R9.json"], key)


def test_a_reader_who_comes_twice(key: Key, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [saved(folder, good(key)) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(RefusedInput, match=r"Reader R1 is there twice: .*answers-R1\.json and .*other"):
        read_answers(files, key)


def test_answers_of_one_seed_do_not_score_with_another(key: Key, tmp_path: Path) -> None:
    from dataclasses import replace

    other = small_key(replace(DESIGN, seed=1), 2)
    with pytest.raises(RefusedInput, match=r"another study"):
        read_answers([saved(tmp_path, good(other))], key)


def test_keys_refused(key: Key, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(key_text(key).replace('"a"', '"c"'))
    with pytest.raises(RefusedInput, match=r"The key was changed\. key\.json"):
        read_key(file)
    found = json.loads(key_text(key))
    del found["design"]["pairs"]
    file.write_text(json.dumps(found))
    with pytest.raises(RefusedInput, match=r"The key is incomplete\. key\.json: it lacks design.pairs"):
        read_key(file)
    file.write_text(json.dumps(good(key)))
    with pytest.raises(RefusedInput, match=r"another kind\. key\.json: found 'lamella reader-study answers'"):
        read_key(file)
    with pytest.raises(UsageError, match=r"No such file"):
        read_key(tmp_path / "nothing.json")
