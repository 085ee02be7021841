"""A reader's session as one HTML page that opens from disk and does not know which method is which."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamella import RESEARCH_ONLY
from lamella.errors import LamellaError
from lamella.reader_study.key import Key
from lamella.reader_study.plan import LIKERT_ANCHORS, Item, Session
from lamella.report.pack import PageVolume, pack_volumes
from lamella.report.page import render_page, viewer_windows
from lamella.volume import Volume

_GZIP_HEADER_BYTES, _GZIP_COMMENT = 10, 0x10
_NIFTI_HEADER_BYTES = 348


@dataclass(frozen=True)
class PackedCase:
    """A case's volumes, ready for every reader's page.

    Attributes:
        blocks: method -> base64 of a gzipped NIfTI; all of a case are equally long.
        note: what was cropped or rounded, the same for all of them.
    """

    blocks: Mapping[str, str]
    note: str

    @property
    def bytes(self) -> int:
        """What they take in a page."""
        return sum(map(len, self.blocks.values()))


def pack_case(case: str, volumes: Mapping[str, Volume], budget_bytes: int) -> PackedCase:
    """Pack a case's volumes together, so that cropping and rounding cannot tell them apart.

    Args:
        case: its name, for messages.
        volumes: method -> HU on one grid.
        budget_bytes: for all of them.

    Raises:
        LamellaError: they do not fit without averaging pixels.
    """
    names = {method: f"m{place}" for place, method in enumerate(volumes)}
    shown = [PageVolume(name, method, "thin", volumes[method]) for method, name in names.items()]
    packed = pack_volumes(shown, budget_bytes)
    first = next(iter(volumes.values()))
    if any(_pixel_mm(block) > 1.5 * first.geometry.pixel_mm[1] for block in packed.blocks.values()):
        raise LamellaError(
            f"The images of {case} fit {budget_bytes / 1e6:.1f} MB only with their pixels averaged, which would change the "
            f"noise and sharpness that readers judge. Found {len(volumes)} volumes of shape {first.hu.shape}. Show a slab "
            "(--slab-mm), allow more (--megabytes), or put fewer cases into one study."
        )
    data = {entry["id"]: entry["data"].removeprefix("#") for entry in packed.volumes}
    blocks = equally_long({method: packed.blocks[data[name]] for method, name in names.items()})
    return PackedCase(blocks, re.sub(r"the page under \d+ MB", "the page small", packed.note))


def _pixel_mm(block: str) -> float:
    """Distance between columns of a packed NIfTI (pixdim[1])."""
    header = gzip.decompress(base64.b64decode(block))[:_NIFTI_HEADER_BYTES]
    return float(np.frombuffer(header, "<f4", 1, 80)[0])


def equally_long(blocks: Mapping[str, str]) -> dict[str, str]:
    """The same gzip files, filled up to one length: how well a volume packs tells how noisy it is.

    What fills them is a comment of random letters in the gzip header (RFC 1952, 2.3.1), which unpacking drops.
    """
    raw = {name: base64.b64decode(block) for name, block in blocks.items()}
    longest = max(map(len, raw.values())) + 1
    return {name: base64.b64encode(_filled(data, longest)).decode() for name, data in raw.items()}


def _filled(data: bytes, length: int) -> bytes:
    head, flags = bytearray(data[:_GZIP_HEADER_BYTES]), data[3]
    assert flags == 0, f"a gzip header without name, comment or extras was expected, found flags {flags}"
    head[3] = _GZIP_COMMENT
    rng = np.random.default_rng(list(data[-8:]))
    comment = rng.integers(1, 256, length - len(data) - 1, dtype=np.uint8).tobytes()
    return bytes(head) + comment + b"\0" + data[_GZIP_HEADER_BYTES:]


def session_page(key: Key, session: Session, packed: Mapping[str, PackedCase]) -> str:
    """The page of one reader.

    Args:
        key: of the study; its method names do not get into the page.
        session: what this reader is asked.
        packed: case -> its volumes.
    """
    # By their random names, so that nothing follows from the order.
    shown = sorted((name, case, method) for (case, method), name in session.volumes.items())
    data = {
        "study": key.study,
        "reader": session.reader,
        "lamella": key.lamella,
        "notice": RESEARCH_ONLY,
        "preference": key.design.preference,
        "questions": list(key.design.ratings),
        "anchors": list(LIKERT_ANCHORS),
        "windows": viewer_windows(),
        "items": [_item(item, session, packed[item.case].note) for item in session.items],
    }
    return render_page(
        "session.html",
        {},
        data,
        f"Reader session {session.reader}",
        blocks={name: packed[case].blocks[method] for name, case, method in shown},
        scripts=("answers.js", "session.js"),
        style="session.css",
        package="lamella.reader_study",
    )


def _item(item: Item, session: Session, note: str) -> dict[str, Any]:
    """What the page knows of an item: neither its case nor whether it repeats another."""
    volumes = [session.volumes[item.case, method] for method in item.methods]
    return {"id": item.id, "kind": item.kind, "volumes": volumes, "note": note}
