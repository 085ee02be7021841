"""Folders of a node: moves, rounds, what a killed node left, and one owner."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.errors import LamellaError
from lamella.node.closing import OpenStudies
from lamella.node.journal import Journal, hashed
from lamella.node.settings import DicomSettings, NodeSettings
from lamella.node.states import FINAL, STATES, Round, States, read_json, write_json
from lamella.node.studies import overview

KEY = hashed("1.2.3")


@pytest.fixture
def states(tmp_path: Path) -> Iterator[States]:
    one = States(tmp_path / "state")
    yield one
    one.close()


def receive(states: States, *names: str, content: str = "") -> None:
    states.begin(KEY)
    for name in names:
        (states.incoming(KEY) / name).write_text(content or name)


def names(one: Round) -> list[str]:
    return sorted(file.name for file in one.source.iterdir())


def places(states: States) -> dict[str, list[str]]:
    found = {state: [one.name for one in states.rounds(state)] for state in STATES[1:]}
    return {state: names for state, names in found.items() if names}


def test_a_study_goes_from_folder_to_folder(states: States) -> None:
    receive(states, "a", "b")
    one = states.close_study(KEY)
    assert one.name == f"{KEY}-0001"
    assert (one.key, one.number, one.facts()["instances"]) == (KEY, 1, 2)
    assert list((states.root / "incoming").iterdir()) == []
    one = states.move(one, "working")
    assert places(states) == {"working": [one.name]}
    done = states.finish(one, "refused", "because")
    assert done.facts()["reason"] == "because"
    assert places(states) == {"refused": [one.name]}
    assert states.find(one.name) == done == states.latest(KEY)


@pytest.mark.parametrize("state", FINAL)
def test_late_slices_make_a_round_that_replaces_the_first_when_it_is_finished(states: States, state: str) -> None:
    receive(states, "a", "b")
    first = states.finish(states.move(states.close_study(KEY), "working"), state, "")  # type: ignore[arg-type]
    receive(states, "c")
    second = states.close_study(KEY)
    assert (second.number, names(second), names(first)) == (2, ["a", "b", "c"], ["a", "b"])
    second = states.move(second, "working")
    assert first.folder.is_dir()
    states.finish(second, "sent", "")
    assert places(states) == {"sent": [second.name]}


def test_what_comes_again_in_other_bytes_counts_as_it_came_last(states: States) -> None:
    receive(states, "a", "b", content="old")
    states.finish(states.move(states.close_study(KEY), "working"), "failed", "")
    receive(states, "a", content="new")
    second = states.close_study(KEY)
    assert {file.name: file.read_text() for file in second.source.iterdir()} == {"a": "new", "b": "old"}


def test_a_round_that_nobody_began_gives_way_to_the_next(states: States) -> None:
    receive(states, "a")
    states.close_study(KEY)
    receive(states, "b")
    second = states.close_study(KEY)
    assert places(states) == {"ready": [second.name]}
    assert names(second) == ["a", "b"]


def test_the_later_round_stays_whichever_ends_first(states: States) -> None:
    receive(states, "a")
    first = states.move(states.close_study(KEY), "working")
    receive(states, "b")
    second = states.finish(states.move(states.close_study(KEY), "working"), "sent", "")
    states.finish(first, "sent", "")
    assert places(states) == {"sent": [second.name]}


def test_a_killed_node_left_temporary_files_and_a_study_that_waits_again(tmp_path: Path) -> None:
    states = States(tmp_path / "state")
    receive(states, "a")
    begun = states.move(states.close_study(KEY), "working")
    (states.temporary / "half").write_bytes(b"half an instance")
    states.begin("0" * 32)  # killed before its first instance was there
    receive(states, "b")
    states.close()  # as the kernel does for a killed process
    states = States(tmp_path / "state")
    assert list(states.temporary.iterdir()) == []
    assert [folder.name for folder in (states.root / "incoming").iterdir()] == [KEY]
    assert places(states) == {"ready": [begun.name]}
    receive(states, "c")
    assert states.close_study(KEY).number == 2
    states.close()


def test_a_result_that_waits_to_be_sent_is_not_made_again(tmp_path: Path) -> None:
    states = States(tmp_path / "state")
    receive(states, "a")
    one = states.move(states.close_study(KEY), "working")
    one.result.mkdir()
    write_json(one.folder / "send.json", {})
    states.close()
    states = States(tmp_path / "state")
    assert places(states) == {"working": [one.name]}
    states.close()


def test_two_nodes_on_one_folder_are_refused(states: States) -> None:
    code = f"from pathlib import Path; from lamella.node.states import States; States(Path({str(states.root)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Another node works on the state folder" in done.stderr
    with pytest.raises(LamellaError, match="Stop that node, or give this one a folder of its own"):
        States(states.root)


def test_finished_studies_expire_with_their_pixels(states: States) -> None:
    receive(states, "a")
    one = states.finish(states.move(states.close_study(KEY), "working"), "sent", "")
    assert states.expire(1) == []
    one.note(ended=time.time() - 2 * 86400)
    assert states.expire(1) == [one.name]
    assert places(states) == {}
    assert list(states.temporary.iterdir()) == []


def test_a_small_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    assert read_json(tmp_path / "x.json") == {"a": 1}
    (tmp_path / "x.json").write_text("{")
    assert read_json(tmp_path / "x.json") == {}


def test_studies_close_after_a_quiet_time_that_no_clock_changes(
    states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = NodeSettings(state=states.root, dicom=DicomSettings("LAMELLA", 104), close_after_s=10.0)
    receive(states, "a")
    studies = OpenStudies(settings, states, Journal(states.root))
    quiet = [0.0]
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + quiet[0])
    monkeypatch.setattr(time, "time", lambda: -1e9)  # somebody set the clock back
    quiet[0] = 8.0
    studies.came(KEY, 1)
    quiet[0] = 17.9
    assert studies.close_quiet() == []
    quiet[0] = 18.1
    assert [one.name for one in studies.close_quiet()] == [f"{KEY}-0001"]


def test_a_result_that_waits_to_be_sent_goes_when_a_later_round_is_finished(states: States) -> None:
    receive(states, "a")
    first = states.move(states.close_study(KEY), "working")
    first.result.mkdir()
    write_json(first.folder / "send.json", {})
    receive(states, "b")
    second = states.finish(states.move(states.close_study(KEY), "working"), "sent", "")
    assert places(states) == {"sent": [second.name]}


def test_what_else_lies_in_the_folders_is_left_alone(tmp_path: Path) -> None:
    for name in STATES:
        (tmp_path / "state" / name).mkdir(parents=True)
        (tmp_path / "state" / name / "Thumbs.db").write_text("junk")
    states = States(tmp_path / "state")
    settings = NodeSettings(state=states.root, dicom=DicomSettings("LAMELLA", 104))
    assert OpenStudies(settings, states, Journal(states.root)).close_quiet() == []
    assert places(states) == {}
    assert all((states.root / name / "Thumbs.db").is_file() for name in STATES)
    states.close()


def test_a_study_that_somebody_put_into_incoming_is_not_taken_away(tmp_path: Path) -> None:
    file = tmp_path / "state" / "incoming" / "DOE" / "slice.dcm"
    file.parent.mkdir(parents=True)
    file.write_text("whatever")
    states = States(tmp_path / "state")
    settings = NodeSettings(state=states.root, dicom=DicomSettings("LAMELLA", 104))
    assert OpenStudies(settings, states, Journal(states.root)).close_quiet() == []
    assert file.is_file()
    assert "DOE" not in str(overview(settings, states, None, ""))  # it may be somebody's name
    states.close()


def test_a_round_that_was_put_back_by_hand_keeps_no_study_open(states: States) -> None:
    receive(states, "a")
    back = states.close_study(KEY)
    aside = states.root.parent / back.name
    back.folder.rename(aside)
    after = States(states.root.parent / "restored")
    aside.rename(after.root / "sent" / back.name)
    receive(after, "b")
    late = after.close_study(KEY)
    assert (late.number, names(late)) == (2, ["a", "b"])
    after.close()


def test_nobody_else_on_the_machine_reads_a_new_state_folder(tmp_path: Path) -> None:
    States(tmp_path / "new" / "state").close()
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700
