"""What people see of the studies of a node: numbers, states and reasons, nothing of a patient."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from lamella.batch.case import PAGE, REPORT, THUMBNAIL
from lamella.batch.record import RECORD
from lamella.node.journal import without_uids
from lamella.node.settings import NodeSettings
from lamella.node.states import FINAL, SENT, SOURCE, STATES, Round, State, States, read_json
from lamella.node.worker import Progress

SHOWN = 200
"""Finished studies of a state that are listed; all are counted."""


def overview(settings: NodeSettings, states: States, progress: Progress | None, not_ready: str) -> dict[str, Any]:
    """All that the page shows, for JSON.

    Args:
        settings: of the node.
        states: where studies are.
        progress: of the worker.
        not_ready: why the node cannot work; empty where it can.
    """
    rounds: dict[State, list[Round]] = {state: states.rounds(state) for state in STATES[1:]}
    incoming = [_incoming(states.root / "incoming" / key) for key in states.receiving()]
    sending = [one for one in rounds["working"] if one.made]
    shown = [one for state in STATES[1:] for one in (rounds[state][-SHOWN:] if state in FINAL else rounds[state])]
    counts = {"incoming": len(incoming), **{state: len(found) for state, found in rounds.items()}}
    studies = [*incoming, *(_study(settings, one, progress) for one in shown)]
    return {
        "ready": not not_ready,
        "reason": not_ready,
        "peers": [peer.name for peer in settings.peers],
        "counts": {**counts, "working": counts["working"] - len(sending), "sending": len(sending)},
        "now": time.time(),
        "studies": sorted(studies, key=lambda one: (-one["when"], one["name"])),
    }


def case_folders(one: Round) -> list[Path]:
    """The results of a round, one folder for each series."""
    try:
        return sorted(folder for folder in one.result.iterdir() if (folder / RECORD).is_file())
    except OSError:
        return []


def _incoming(folder: Path) -> dict[str, Any]:
    try:
        came, when = sum(1 for _ in (folder / SOURCE).iterdir()), folder.stat().st_mtime
    except OSError:  # it closed meanwhile
        came, when = 0, time.time()
    return {"name": folder.name, "state": "incoming", "instances": came, "when": when, "can": []}


def _study(settings: NodeSettings, one: Round, progress: Progress | None) -> dict[str, Any]:
    facts, place = one.facts(), one.folder.parent.name
    made = one.made
    state = "sending" if place == "working" and made else place
    results = [_result(folder) for folder in case_folders(one)] if made else []
    peers = read_json(one.folder / SENT)
    return {
        "name": one.name,
        "state": state,
        "instances": facts.get("instances", 0),
        "when": facts.get("ended") or facts.get("closed") or 0.0,
        "series": facts.get("series", []),
        "reason": without_uids(str(facts.get("reason", ""))),
        "results": results,
        "progress": _progress(progress) if state == "working" else None,
        "peers": [_peer(name, peers[name], len(results)) for name in sorted(peers)],
        "can": _possible(settings, place, made),
    }


def _possible(settings: NodeSettings, place: str, made: bool) -> list[str]:
    """What may be asked of a round."""
    wishes = {
        "retry": place in ("refused", "failed"),
        "send": made and bool(settings.peers),
        "download": made,
        "remove": place in (*FINAL, "ready"),
    }
    return [name for name, possible in wishes.items() if possible]


def _peer(name: str, facts: dict[str, Any], results: int) -> dict[str, Any]:
    wait = facts.get("next", 0) - time.time()
    there = len(facts.get("sent", [])) >= results
    return {"name": name, "there": there, "tries": facts.get("tries", 0), "wait_s": max(0, round(wait))}


def _progress(progress: Progress | None) -> dict[str, Any]:
    """Where the worker is; before it says so, the study is looked through."""
    if progress is None:
        return {"stage": "look through"}
    left = progress.seconds * (1 / progress.fraction - 1) if progress.fraction > 0.02 else None
    rest = progress.rest_s if progress.series == progress.of else None
    left = left + rest if left is not None and rest is not None else left
    series = {} if progress.of == 1 else {"series": progress.series, "of": progress.of}
    return {"stage": progress.stage, "fraction": progress.fraction, "left_s": left, "whole": rest is not None, **series}


def _result(folder: Path) -> dict[str, Any]:
    return {**_grid(folder / REPORT), "page": (folder / PAGE).is_file(), "picture": (folder / THUMBNAIL).is_file()}


@lru_cache(maxsize=4096)
def _grid(report: Path) -> dict[str, Any]:
    """The figures of a result, which does not change; a study that is done again is another round or has the same."""
    output = read_json(report).get("output", {})
    return {name: output.get(name) for name in ("slices", "thickness_mm", "spacing_mm")}
