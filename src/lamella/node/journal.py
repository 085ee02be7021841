"""What happened, twice: a line for people on standard error, and a line of JSON in the audit log.

Neither holds anything of a patient: UIDs are hashed unless the audit log is asked to hold them, and names of files are
hashes already.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lamella.errors import printable

LOG = logging.getLogger("lamella.node")
AUDIT = "audit.jsonl"


_UID = re.compile(r"\b[0-2]\.[0-9][0-9.]{13,}[0-9]")
"""A UID in a text; no address is as long."""


def _hash(found: re.Match[str]) -> str:
    return hashed(found.group())


def hashed(uid: str) -> str:
    """What stands for a UID: 32 hexadecimal digits."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


def without_uids(text: str) -> str:
    """A text with a hash for each UID."""
    return _UID.sub(_hash, text)


class Journal:
    """Writes both. Threads may share it.

    Args:
        state: folder that the audit log lies in; it is opened anew for every line, so that it may be rotated at any time.
        plain: UIDs stand in the audit log as they are.
    """

    def __init__(self, state: Path, *, plain: bool = False) -> None:
        self._path, self._plain, self._lock = state / AUDIT, plain, threading.Lock()

    def note(self, event: str, *, level: int = logging.INFO, uid: str = "", **facts: Any) -> None:
        """Record an event. A full disk never stops what is being recorded: the line for people then says so.

        Args:
            event: one word, such as "received".
            level: of the line for people.
            uid: study or instance that it is about.
            facts: numbers, AE titles, statuses, reasons; what is None is left out.
        """
        plain = {
            name: printable(one) if isinstance(one, str) else one for name, one in facts.items() if one is not None
        }
        if uid:
            plain["uid"] = uid
        discreet = {name: without_uids(one) if isinstance(one, str) else one for name, one in plain.items()}
        LOG.log(level, " ".join([event, *(f"{name}={one}" for name, one in discreet.items())]))
        facts = plain if self._plain else discreet
        line = (
            json.dumps({"when": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}) + "\n"
        )
        try:
            with self._lock:
                handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
                try:
                    size = os.fstat(handle).st_size
                    if os.write(handle, line.encode()) < len(line):  # a line is whole or not there; it is ASCII
                        os.ftruncate(handle, size)
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                finally:
                    os.close(handle)
        except OSError as error:
            LOG.error("The audit log cannot be written (%s). Free some space.", os.strerror(error.errno or 0))
