"""Where every study is: `incoming -> ready -> working -> sent | refused | failed`, each a folder, each move one rename.

A study that closed is a round: `KEY-NNNN`, where KEY is a hash of its StudyInstanceUID. It holds `source/` (instances as
they were received), `result/` once it was thinned, `round.json`, and `send.json` from when it may be sent. What came late
makes the next round, which holds the earlier instances too (hard links); the earlier round goes when that one is finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lamella.errors import LamellaError
from lamella.files.lock import lock

State = Literal["incoming", "ready", "working", "sent", "refused", "failed"]
STATES: tuple[State, ...] = ("incoming", "ready", "working", "sent", "refused", "failed")
FINAL: tuple[State, ...] = ("sent", "refused", "failed")
SOURCE, RESULT, FACTS, SENT = "source", "result", "round.json", "send.json"

_KEY = re.compile(r"[0-9a-f]{32}s?")
_ROUND = re.compile(rf"({_KEY.pattern})-(\d{{4,}})")
_TEMPORARY = "tmp"


@dataclass(frozen=True)
class Round:
    """A closed study. `folder` is right until it is moved."""

    folder: Path

    @property
    def name(self) -> str:
        """KEY-NNNN."""
        return self.folder.name

    @property
    def key(self) -> str:
        """Of its study."""
        return self.name.rpartition("-")[0]

    @property
    def number(self) -> int:
        """From 1, within its study."""
        return int(self.name.rpartition("-")[2])

    @property
    def source(self) -> Path:
        """Folder of the instances."""
        return self.folder / SOURCE

    @property
    def result(self) -> Path:
        """Folder of the results."""
        return self.folder / RESULT

    @property
    def made(self) -> bool:
        """Whether it was thinned, and waits to be sent."""
        return self.result.is_dir() and (self.folder / SENT).is_file()

    def facts(self) -> dict[str, Any]:
        """What `round.json` says."""
        return read_json(self.folder / FACTS)

    def note(self, **facts: Any) -> None:
        """Add to `round.json`."""
        write_json(self.folder / FACTS, {**self.facts(), **facts})


class States:
    """The folders of one node, which holds their lock while it lives. Threads may share it.

    Args:
        root: folder; made if missing.

    Raises:
        LamellaError: another node works there, or the file system has no locks.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.guard = root, threading.RLock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds patients; an existing one stays as open as it is
        for name in (*STATES, _TEMPORARY):
            (root / name).mkdir(parents=True, exist_ok=True)
        try:
            self._held = lock(root / "lock")
        except BlockingIOError:
            raise LamellaError(
                f"Another node works on the state folder {root}. Found its lock taken, expected it free. Stop that node, or "
                "give this one a folder of its own."
            ) from None
        if self._held is None:
            raise LamellaError(
                f"The state folder {root} cannot be locked. Expected a local file system that can be written to. Choose "
                "another folder."
            )
        self._latest: dict[str, int] = {}
        self._recover()

    def close(self) -> None:
        """Let another node work here."""
        assert self._held is not None, "a node without a lock does not start"
        self._held.release()

    @property
    def temporary(self) -> Path:
        """Folder for files that are not whole yet; emptied at every start."""
        return self.root / _TEMPORARY

    def incoming(self, key: str) -> Path:
        """Folder of a study that is being received."""
        return self.root / "incoming" / key / SOURCE

    def receiving(self) -> list[str]:
        """Keys of the studies that are being received; whatever else somebody put there is left alone."""
        return sorted(
            folder.name
            for folder in (self.root / "incoming").iterdir()
            if _KEY.fullmatch(folder.name) and folder.is_dir()
        )

    def begin(self, key: str) -> None:
        """Make `incoming(key)`. Hold `guard`."""
        folder = self.incoming(key)
        if not folder.is_dir():
            folder.mkdir(parents=True)
            sync(folder.parent)
            sync(folder.parent.parent)

    def rounds(self, state: State) -> list[Round]:
        """The rounds in a state, those that closed first first."""
        with os.scandir(self.root / state) as entries:
            found = [(entry.stat().st_mtime_ns, entry.name) for entry in entries if _ROUND.fullmatch(entry.name)]
        return [Round(self.root / state / name) for _, name in sorted(found)]

    def find(self, name: str) -> Round | None:
        """A round by its name, wherever it is."""
        places = (self.root / state / name for state in STATES[1:] if _ROUND.fullmatch(name))
        return next((Round(place) for place in places if place.is_dir()), None)

    def latest(self, key: str) -> Round | None:
        """The newest round of a study that is still there."""
        newest = self._latest.get(key, 0)
        while self.find(f"{key}-{newest + 1:04d}"):  # somebody put it there by hand
            newest = self._latest[key] = newest + 1
        for number in range(newest, 0, -1):
            if found := self.find(f"{key}-{number:04d}"):
                return found
        return None

    def close_study(self, key: str) -> Round:
        """incoming -> ready; instances of the earlier round come along. Hold `guard`."""
        folder, before = self.root / "incoming" / key, self.latest(key)
        if before is not None:
            for file in before.source.iterdir():
                link_new(file, folder / SOURCE / file.name)
        number = self._latest.get(key, 0) + 1
        count = sum(1 for _ in (folder / SOURCE).iterdir())
        write_json(folder / FACTS, {"round": number, "instances": count, "closed": time.time()})
        sync(folder / SOURCE)
        target = self.root / "ready" / f"{key}-{number:04d}"
        _rename(folder, target)
        self._latest[key] = number
        if before is not None and before.folder.parent.name == "ready":
            self.remove(before)  # nobody began it, and the new one holds all of it
        return Round(target)

    def move(self, one: Round, state: State) -> Round:
        """To another state."""
        with self.guard:
            target = self.root / state / one.name
            _rename(one.folder, target)
            return Round(target)

    def finish(self, one: Round, state: State, reason: str) -> Round:
        """To one of `FINAL`, with the reason; what earlier rounds of the study came to goes, sent or not."""
        with contextlib.suppress(OSError):  # a full disk: the state alone has to say it
            one.note(ended=time.time(), reason=reason, attempts=0)
        done = self.move(one, state)
        rounds = (self.find(f"{one.key}-{number:04d}") for number in range(1, self._latest.get(one.key, 0) + 1))
        ended = [found for found in rounds if found is not None and (found.made or found.folder.parent.name in FINAL)]
        newest = max((found.number for found in ended if found.folder.parent.name in FINAL), default=0)
        for earlier in ended:
            if earlier.number < newest:
                self.remove(earlier)
        return done

    def remove(self, one: Round) -> None:
        """Take a round away with its pixels."""
        with self.guard:
            aside = self.temporary / one.name
            shutil.rmtree(aside, ignore_errors=True)
            _rename(one.folder, aside)
        shutil.rmtree(aside, ignore_errors=True)  # what is left goes at the next start

    def expire(self, days: float) -> list[str]:
        """Remove finished rounds that ended more than `days` ago; returns their names."""
        gone = []
        for state in FINAL:
            for one in self.rounds(state):
                ended = one.facts().get("ended")
                if isinstance(ended, int | float) and time.time() - ended > days * 86400:
                    self.remove(one)
                    gone.append(one.name)
        return gone

    def _recover(self) -> None:
        """What a node that was killed left: temporary files go, and what was begun waits again, unless its result is there."""
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()
        for state in STATES[1:]:
            for one in self.rounds(state):
                self._latest[one.key] = max(one.number, self._latest.get(one.key, 0))
        for key in self.receiving():
            if not any(self.incoming(key).glob("*")):  # begun, and killed before the first instance
                shutil.rmtree(self.root / "incoming" / key)
        for one in self.rounds("working"):
            if not one.made:
                self.move(one, "ready")


def read_json(path: Path) -> dict[str, Any]:
    """A mapping; empty where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small file so that it is whole or as it was, also after a loss of power."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync(path.parent)


def link_new(file: Path, target: Path) -> None:
    """A second name for a file, unless the name is taken."""
    if not target.exists():
        os.link(file, target)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(old: Path, new: Path) -> None:
    os.rename(old, new)
    sync(new.parent)
    sync(old.parent)
