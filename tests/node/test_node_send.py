"""Peers that are away, break off or refuse: the whole series is sent again, also by the next node; others do not wait."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.running_node import free_port, needed, node_config, running_node, start_node, storescp, study_at, wait_for

from lamella.node.journal import Journal
from lamella.node.send import Sender, waits_s
from lamella.node.settings import DicomSettings, NodeSettings, Peer, RetrySettings
from lamella.node.states import States, read_json, write_json

KEY = "0" * 32


def peers_at(*ports: int) -> dict[str, Any]:
    peers = [{"name": f"p{n}", "aet": "PEER", "host": "127.0.0.1", "port": port} for n, port in enumerate(ports)]
    return {"peers": peers, "send_to": [peer["name"] for peer in peers]}


@pytest.mark.slow
def test_a_peer_that_comes_later_gets_it_from_the_next_node(tmp_path: Path, tiny_model: Path) -> None:
    needed("storescu", "storescp")
    away, there = free_port(), free_port()
    with (
        storescp(tmp_path / "there", there),
        running_node(tmp_path / "node", tiny_model, **peers_at(away, there)) as node,
    ):
        node.store(study_at(tmp_path / "in"))
        (waiting,) = wait_for(lambda: node.folders("working"), "a study in work")
        wait_for(lambda: read_json(waiting / "send.json").get("p0", {}).get("tries", 0) >= 2, "two tries")
        assert len(list((tmp_path / "there").iterdir())) == 16  # the other peer did not wait
        tries = json.loads((waiting / "send.json").read_text())["p0"]["tries"]
        node.end(signal.SIGKILL)
        with storescp(tmp_path / "away", away):
            after = start_node(node.config)
            after.finished()
            assert tries >= 2
            assert len(list((tmp_path / "away").iterdir())) == 16
            assert sum(line["event"] == "thinned" for line in after.audit()) == 1  # not made again
            after.end()


@pytest.mark.slow
def test_a_peer_that_breaks_off_gets_the_whole_series_again(tmp_path: Path, tiny_model: Path) -> None:
    needed("storescu", "storescp")
    port = free_port()
    with running_node(tmp_path / "node", tiny_model, **peers_at(port)) as node:
        with storescp(tmp_path / "broken", port, "--abort-during"):
            node.store(study_at(tmp_path / "in"))
            wait_for(lambda: any(line["event"] == "not sent" for line in node.audit()), "a broken association")
        with storescp(tmp_path / "whole", port, "-v"):
            node.finished()
        assert len(list((tmp_path / "whole").iterdir())) == 16
        (broken,) = [line for line in node.audit() if line["event"] == "not sent"][:1]
        assert "broke off after" in broken["reason"]


@pytest.mark.slow
def test_a_node_connects_to_named_peers_alone(tmp_path: Path, tiny_model: Path) -> None:
    needed("storescu", "storescp", "strace")
    port, trace = free_port(), tmp_path / "trace"
    config = node_config(tmp_path / "node", tiny_model, **peers_at(port))
    with storescp(tmp_path / "received", port):
        node = start_node(config, before=["strace", "-f", "-e", "trace=connect", "-o", str(trace)])
        node.store(study_at(tmp_path / "in"))
        node.finished()
        psutil.Process(node.process.pid).children()[0].terminate()
        node.process.wait(60)
    ports = set(re.findall(r"AF_INET6?, sin6?_port=htons\((\d+)\)", trace.read_text()))
    assert ports - {"0"} == {str(port)}  # 0: the C library looks which addresses there are, and sends nothing


def test_a_peer_that_stays_away_makes_it_fail(tmp_path: Path) -> None:
    states, sender = waiting_round(tmp_path, RetrySettings(first_s=1e-3, longest_s=1e-3, days=2.5e-3 / 86400))
    for _ in range(3):
        sender.step()
        time.sleep(0.01)
    (failed,) = states.rounds("failed")
    assert "The peer away did not take it in 3 tries: no association" in failed.facts()["reason"]
    assert (failed.result / "case").is_dir()
    states.close()


def test_a_clock_that_goes_back_keeps_nothing_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, sender = waiting_round(tmp_path, RetrySettings(first_s=60, longest_s=600))
    assert sender.step()
    assert not sender.step()  # not due
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 1e6)
    assert sender.step()
    assert read_json(states.rounds("working")[0].folder / "send.json")["away"]["tries"] == 2
    states.close()


def test_a_round_that_cannot_be_finished_keeps_no_other_waiting(tmp_path: Path) -> None:
    """Somebody copied a round to where it goes."""
    states, sender = waiting_round(tmp_path, RetrySettings())
    (one,) = states.rounds("working")
    write_json(one.folder / "send.json", {"away": {"sent": ["k"]}})
    other = states.root / "working" / f"{KEY[:-1]}1-0001"
    shutil.copytree(one.folder, other)
    shutil.copytree(one.folder, states.root / "sent" / one.name)
    sender.step()
    assert [left.name for left in states.rounds("working")] == [one.name]
    assert other.name in [done.name for done in states.rounds("sent")]
    assert read_json(one.folder / "send.json") == {"away": {"sent": ["k"]}}  # as it was
    states.close()


def test_waits_double_up_to_the_longest() -> None:
    assert waits_s(RetrySettings(first_s=10, longest_s=60), 5) == [10, 20, 40, 60, 60]


def waiting_round(tmp_path: Path, retry: RetrySettings) -> tuple[States, Sender]:
    """A made round, and what sends it to a peer that is not there."""
    peer = Peer("away", aet="AWAY", host="127.0.0.1", port=free_port())
    settings = NodeSettings(
        tmp_path / "state", DicomSettings("LAMELLA", 104), peers=(peer,), send_to=("away",), retry=retry
    )
    states = States(settings.state)
    states.begin(KEY)
    one = states.move(states.close_study(KEY), "working")
    study_at(one.result / "case" / "series")
    write_json(one.result / "case" / "record.json", {"key": "k"})
    write_json(one.folder / "send.json", {})
    return states, Sender(settings, states, Journal(settings.state), peer)
