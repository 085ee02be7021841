"""Processes that look through a study and thin it: limits of memory and time, deaths, and a queue that goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.running_node import study_at, wait_for

from lamella.errors import LamellaError
from lamella.node.dispatch import Dispatcher
from lamella.node.journal import Journal, hashed
from lamella.node.processes import Worker, look_through
from lamella.node.serve import Node
from lamella.node.settings import DicomSettings, NodeSettings, NodeThin, WorkSettings
from lamella.node.states import States
from lamella.node.worker import Done, Looked

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path) -> NodeSettings:
    thin = NodeThin(model=str(tiny_model), spacing_mm=2.5, device="cpu")
    return NodeSettings(tmp_path / "state", DicomSettings("LAMELLA", 104), thin=thin)


@pytest.fixture
def states(settings: NodeSettings) -> Iterator[States]:
    one = States(settings.state)
    yield one
    one.close()


def put(states: States, number: int, **how: object) -> str:
    """A closed study; its key."""
    key = hashed(str(number))
    states.begin(key)
    study_at(states.incoming(key), number, **how)
    with states.guard:
        states.close_study(key)
    return key


def dispatcher(settings: NodeSettings, states: States) -> Dispatcher:
    return Dispatcher(settings, states, Journal(states.root))


def test_a_study_is_looked_through(tmp_path: Path, settings: NodeSettings) -> None:
    looked = look_through(study_at(tmp_path / "in"), settings)
    assert isinstance(looked, Looked)
    assert [one.summary.slices for one in looked.chosen] == [8]
    nothing = look_through(study_at(tmp_path / "thin", spacing_mm=1.0, thickness_mm=1.0), settings)
    assert isinstance(nothing, Looked)
    assert nothing.chosen == ()
    assert "thickness_mm: 1, not 2 to 12" in nothing.reasons[0]


def test_too_much_memory_or_time_is_no_reason_to_wait(tmp_path: Path, settings: NodeSettings) -> None:
    study = study_at(tmp_path / "in", slices=32, side=1024)
    found = look_through(study, replace(settings, work=WorkSettings(parse_gb=0.04)))
    assert found == Done("refused", "Reading it takes more memory than work.parse_gb, 0.04 GiB.")
    slow = look_through(study, replace(settings, work=WorkSettings(parse_s=0.01)))
    assert slow == Done("failed", "Reading it takes longer than work.parse_s, 0.01 s.")


def test_a_worker_that_is_killed_is_started_anew_and_the_study_made(settings: NodeSettings, states: States) -> None:
    put(states, 1, slices=12, side=128)
    one = dispatcher(settings, states)
    one.worker.start()
    first = one.worker.pid
    assert first is not None
    making = lambda: list(states.root.glob("working/*/making"))  # noqa: E731
    killer = threading.Thread(target=lambda: (wait_for(making, "work"), os.kill(first, signal.SIGKILL)))
    killer.start()
    assert one.step()
    killer.join()
    (waiting,) = states.rounds("ready")
    assert waiting.facts()["attempts"] == 1
    assert one.step()
    (made,) = states.rounds("working")
    assert made.made
    assert one.worker.pid != first
    one.stop()


def test_a_study_whose_worker_always_dies_fails_and_the_next_is_made(settings: NodeSettings, states: States) -> None:
    put(states, 1)
    put(states, 2)
    one = dispatcher(replace(settings, work=WorkSettings(attempts=2)), states)
    deadly, good = states.rounds("ready")
    deadly.note(attempts=2)
    one.step()
    one.step()
    (failed,) = states.rounds("failed")
    assert failed.name == deadly.name
    assert "Its worker died 2 times" in failed.facts()["reason"]
    assert [made.name for made in states.rounds("working")] == [good.name]
    one.stop()


def test_a_study_that_takes_too_long_fails_and_leaves_nothing_half_made(settings: NodeSettings, states: States) -> None:
    put(states, 1, slices=12, side=128)
    one = dispatcher(replace(settings, work=WorkSettings(study_s=0.01)), states)
    one.step()
    (failed,) = states.rounds("failed")
    assert failed.facts()["reason"] == "It takes longer than work.study_s, 0.01 s."
    assert not failed.result.exists()
    one.stop()


def test_it_computes_with_as_many_threads_as_it_may(settings: NodeSettings, states: States) -> None:
    # issue 27, item 1: two processes whose threads share a core are many times slower
    put(states, 1)
    counts = []
    for threads in (1, 4):
        one = dispatcher(replace(settings, work=WorkSettings(threads=threads)), states)
        one.step()
        assert one.worker.pid is not None
        counts.append(psutil.Process(one.worker.pid).num_threads())
        one.stop()
        (made,) = states.rounds("working")
        shutil.rmtree(made.result)
        states.move(made, "ready")
    assert counts[1] - counts[0] >= 3


def test_the_worker_ends_with_its_node(settings: NodeSettings) -> None:
    code = (
        "import os, sys\n"
        "from lamella.node.processes import Worker\n"
        "from lamella.node.settings import DicomSettings, NodeSettings, NodeThin\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    thin = NodeThin(model=sys.argv[1], device='cpu')\n"
        "    worker = Worker(NodeSettings(Path('s'), DicomSettings('L', 104), thin=thin))\n"
        "    worker.start()\n"
        "    print(worker.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    script = settings.state.parent / "killed.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), settings.thin.model], capture_output=True, text=True, timeout=120
    )
    pid = int(done.stdout)
    wait_for(
        lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text(), "its end"
    )


def test_a_worker_that_does_not_start_in_time_is_said(settings: NodeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamella.node.processes._START_S", 0.01)
    node = Node(settings)
    with pytest.raises(LamellaError, match="did not start: it took more than ten minutes to load the model"):
        node.start()
    node.stop()


def test_a_model_that_is_not_there_is_said_at_the_start(settings: NodeSettings) -> None:
    worker = Worker(replace(settings, thin=NodeThin(model="nowhere")))
    with pytest.raises(LamellaError, match="There is no model 'nowhere'"):
        worker.start()


def test_a_worker_that_cannot_start_costs_no_study_its_place(
    settings: NodeSettings, states: States, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's disk is away for a while, after the worker died: studies wait, and are made when it is back."""
    monkeypatch.setattr("lamella.node.dispatch._START_AGAIN_S", 0.01, raising=False)
    put(states, 1)
    away = tmp_path / "away"
    one = dispatcher(replace(settings, thin=replace(settings.thin, model=str(away))), states)
    assert not one.step()
    (waiting,) = states.rounds("ready")
    assert "attempts" not in waiting.facts()
    shutil.copytree(tiny_model, away)
    assert one.step()
    assert [made.made for made in states.rounds("working")] == [True]
    one.stop()


def test_a_round_that_cannot_be_moved_keeps_no_other_waiting(settings: NodeSettings, states: States) -> None:
    """Somebody copied a round back into the queue, and it is still in work."""
    put(states, 1)
    put(states, 2)
    copied, other = states.rounds("ready")
    shutil.copytree(copied.folder, states.root / "working" / copied.name)
    one = dispatcher(settings, states)
    one.step()
    one.step()
    assert [left.name for left in states.rounds("ready")] == [copied.name]
    assert states.find(other.name).made  # type: ignore[union-attr]
    one.stop()
