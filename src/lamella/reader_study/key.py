"""The key of a study: which item is what. Its hash names the study, so that answers of another one are refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lamella import RESEARCH_ONLY, __version__
from lamella.errors import RefusedInput, UsageError
from lamella.files.config import fill
from lamella.reader_study.plan import Design, Item, Session

KEY_KIND = "lamella reader-study key"

KEY_README = f"""\
This folder is the key of a reader study: key.json says which method every item shows.

Keep it from the readers until the last of them has handed in answers. Give each reader one session page and nothing
else. Whoever knows the seed, the cases and the methods can draw the same sessions again: keep the seed with the key.

Score:  lamella reader score key.json answers-R1.json answers-R2.json ...

{RESEARCH_ONLY}
"""


@dataclass(frozen=True)
class Shown:
    """One volume of the study, as it was read.

    Attributes:
        case: which case.
        method: which method.
        source: name of its file or folder.
        sha256: of its voxels and their place, after the slab was cut.
    """

    case: str
    method: str
    source: str
    sha256: str


@dataclass(frozen=True)
class Key:
    """Everything that readers must not know.

    Attributes:
        design: what is asked.
        shown: the volumes.
        sessions: what each reader is shown, by reader.
        lamella: version that made it.
    """

    design: Design
    shown: tuple[Shown, ...]
    sessions: tuple[Session, ...]
    lamella: str = __version__

    @property
    def study(self) -> str:
        """Name of the study: the first 16 digits of the SHA-256 of all the key says."""
        return hashlib.sha256(json.dumps(_content(self), sort_keys=True).encode()).hexdigest()[:16]

    def session(self, reader: str) -> Session | None:
        """What a reader was shown; None for an unknown one."""
        return next((one for one in self.sessions if one.reader == reader), None)


def key_text(key: Key) -> str:
    """The key as JSON."""
    return json.dumps({"kind": KEY_KIND, "study": key.study, **_content(key)}, indent=1) + "\n"


def read_key(path: Path) -> Key:
    """A key from its file.

    Raises:
        UsageError: no such file.
        RefusedInput: not a key, or one that was changed.
    """
    found = read_json(path, KEY_KIND, "Give the key.json that `lamella reader make` wrote.")
    try:
        key = _from_content(found)
    except (KeyError, TypeError, ValueError) as error:
        usage = isinstance(error, UsageError)
        what = str(error).replace("The config", "it").rstrip(".") if usage else f"{type(error).__name__} at {error}"
        raise RefusedInput(
            f"The key is incomplete. {path.name}: {what}. Give the key.json as `lamella reader make` wrote it."
        ) from error
    if key.study != found.get("study"):
        raise RefusedInput(
            f"The key was changed. {path.name}: found study {found.get('study')!r}, its content says {key.study!r}. "
            "Give the key.json as `lamella reader make` wrote it."
        )
    return key


def read_json(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """A JSON object that says it is of a kind.

    Raises:
        UsageError: no such file.
        RefusedInput: not JSON, or of another kind.
    """
    if not path.is_file():
        raise UsageError(f"No such file: {path}. {remedy}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RefusedInput(f"The file is damaged: {path.name} is not JSON{where}. {remedy}") from error
    if not isinstance(found, dict) or found.get("kind") != kind:
        said = found.get("kind") if isinstance(found, dict) else type(found).__name__
        raise RefusedInput(f"The file is of another kind. {path.name}: found {said!r}, expected {kind!r}. {remedy}")
    return found


def _content(key: Key) -> dict[str, Any]:
    return {
        "lamella": key.lamella,
        "design": asdict(key.design),
        "volumes": [asdict(one) for one in key.shown],
        "readers": {
            one.reader: {
                "items": [asdict(item) for item in one.items],
                "volumes": {name: list(shown) for shown, name in one.volumes.items()},
            }
            for one in key.sessions
        },
    }


def _from_content(found: dict[str, Any]) -> Key:
    sessions = tuple(
        Session(
            reader,
            tuple(fill(Item, item) for item in one["items"]),
            {(case, method): name for name, (case, method) in one["volumes"].items()},
        )
        for reader, one in found["readers"].items()
    )
    shown = tuple(fill(Shown, one) for one in found["volumes"])
    return Key(fill(Design, found["design"], "design"), shown, sessions, found["lamella"])
