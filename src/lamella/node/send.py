"""Results to peers: a whole series over one association (C-STORE), or one request (STOW-RS); again until it is there.

What was sent to whom, and how often it was tried, stands in `send.json` of the round, so that a restart goes on. A series
that broke off is sent again as a whole: its UIDs are the same, so the peer has each instance once.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from lamella.batch.record import RECORD
from lamella.node.aside import Aside
from lamella.node.journal import Journal
from lamella.node.send_dicom import Unsent, store
from lamella.node.send_web import stow
from lamella.node.settings import NodeSettings, Peer, RetrySettings
from lamella.node.states import SENT, Round, States, read_json, write_json


class Sender:
    """Sends to one peer, and finishes the rounds that every peer has. One thread uses it.

    Args:
        settings: of the node.
        states: where studies are.
        journal: told about every try.
        peer: who; None for a node that sends nothing, whose rounds are finished at once.
    """

    def __init__(self, settings: NodeSettings, states: States, journal: Journal, peer: Peer | None) -> None:
        self._settings, self._states, self._journal, self._peer = settings, states, journal, peer
        self._aside = Aside()

    def step(self) -> bool:
        """Send what is due; returns whether there was anything."""
        acted = False
        for one in self._states.rounds("working"):
            if not one.made or self._aside.holds(one):
                continue
            try:
                acted = self._hand_on(one) or acted
            except OSError as error:  # a full disk, or somebody moved, copied or owns the folder
                reason = os.strerror(error.errno or 0)
                self._journal.note("not handed on", level=logging.ERROR, round=one.name, reason=reason)
                self._aside.put(one)
        return acted

    def _hand_on(self, one: Round) -> bool:
        """Send a round to the peer if it is due, and finish it if all have it; returns whether there was anything to send."""
        known, peer = read_json(one.folder / SENT), self._peer
        wanted = _wanted(known, self._settings)
        if wanted and (peer is None or peer not in wanted or not self._due(known, peer)):
            return False
        unsent = self._unsent(one, peer) if wanted and peer is not None else {}
        if peer is not None and unsent:
            self._send(one, peer, unsent)
        self._finish_if_sent(one)
        return bool(unsent)

    def _unsent(self, one: Round, peer: Peer) -> dict[str, Path]:
        """Key and folder of each series that the peer does not have."""
        there = read_json(one.folder / SENT).get(peer.name, {}).get("sent", [])
        cases = {read_json(case / RECORD).get("key", ""): case for case in sorted(one.result.iterdir())}
        return {key: folder for key, folder in cases.items() if key not in there}

    def _due(self, known: dict[str, Any], peer: Peer) -> bool:
        wait = known.get(peer.name, {}).get("next", 0) - time.time()
        return bool(wait <= 0 or wait > self._settings.retry.longest_s)  # later than that: somebody set the clock back

    def _send(self, one: Round, peer: Peer, unsent: dict[str, Path]) -> None:
        for key, folder in unsent.items():
            began, files = time.monotonic(), sorted(folder.rglob("*.dcm"))
            try:
                (stow if peer.stow else store)(files, peer, self._settings)
            except Unsent as error:
                self._failed(one, peer, str(error))
                return
            except Exception as error:  # what a peer's answer did to a library; the text may quote a header
                self._failed(one, peer, f"an error that was not expected ({type(error).__name__})")
                return
            self._note(one, peer, sent=key, tries=0, next=0)
            seconds = round(time.monotonic() - began, 1)
            self._journal.note("sent", round=one.name, peer=peer.name, instances=len(files), seconds=seconds)

    def _finish_if_sent(self, one: Round) -> None:
        with self._states.guard:  # whoever sent last finishes it
            wanted = _wanted(read_json(one.folder / SENT), self._settings)
            if one.made and not any(self._unsent(one, peer) for peer in wanted):
                self._states.finish(one, "sent", str(one.facts().get("reason", "")))
                self._journal.note("finished", round=one.name)

    def _failed(self, one: Round, peer: Peer, reason: str) -> None:
        tries = read_json(one.folder / SENT).get(peer.name, {}).get("tries", 0) + 1
        waits = waits_s(self._settings.retry, tries)
        self._journal.note(
            "not sent", level=logging.WARNING, round=one.name, peer=peer.name, tries=tries, reason=reason
        )
        if sum(waits) > self._settings.retry.days * 86400:
            self._states.finish(one, "failed", f"The peer {peer.name} did not take it in {tries} tries: {reason}")
            return
        self._note(one, peer, tries=tries, next=time.time() + waits[-1])

    def _note(self, one: Round, peer: Peer, sent: str = "", **facts: Any) -> None:
        with self._states.guard:
            content = read_json(one.folder / SENT)
            mine = content.get(peer.name, {})
            write_json(
                one.folder / SENT,
                {**content, peer.name: {**mine, **facts, "sent": [*mine.get("sent", []), *([sent] if sent else [])]}},
            )


def senders(settings: NodeSettings, states: States, journal: Journal) -> list[Sender]:
    """One for each peer that is sent to, so that none keeps another waiting."""
    return [Sender(settings, states, journal, peer) for peer in settings.peers or (None,)]


def send_again(states: States, one: Round, peer: str | None = None) -> None:
    """Have a result sent: to those that do not have it, and to one more peer, whether or not it was sent there before."""
    with states.guard:
        known = read_json(one.folder / SENT)
        content = {name: {**facts, "tries": 0, "next": 0} for name, facts in known.items()}
        asked = {} if peer is None else {peer: {"sent": [], "asked": True}}
        write_json(one.folder / SENT, {**content, **asked})
        if one.folder.parent.name != "working":
            states.move(one, "working")


def _wanted(known: dict[str, Any], settings: NodeSettings) -> list[Peer]:
    """Who gets a round: the peers of `send_to`, and those that somebody asked for, as its `send.json` says."""
    asked = {name for name, facts in known.items() if facts.get("asked")}
    return [peer for peer in settings.peers if peer.name in asked or peer in settings.receivers]


def take_back(one: Round, before: Round | None) -> dict[str, Any]:
    """Keep senders from a round that is made (again); what of it, or of the round before, was sent to whom."""
    known = read_json(one.folder / SENT) or ({} if before is None else read_json(before.folder / SENT))
    (one.folder / SENT).unlink(missing_ok=True)
    return {peer: {"sent": facts.get("sent", [])} for peer, facts in known.items()}


def hand_over(one: Round, known: dict[str, Any]) -> None:
    """Let senders have a round; what was sent before is known by keys of the content, so that no result goes twice."""
    write_json(one.folder / SENT, known)


def waits_s(retry: RetrySettings, tries: int) -> list[float]:
    """Seconds to wait after each of so many failures."""
    return [min(retry.longest_s, retry.first_s * 2.0 ** min(n, 30)) for n in range(tries)]
