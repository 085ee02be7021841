"""The tables of the DICOM conformance statement (PS3.2), from the tables that the program itself reads and writes by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_description, dictionary_VR, tag_for_keyword
from pydicom.uid import UID, ParametricMapStorage

from lamella.dicom import deidentify, tags
from lamella.dicom.decode import SYNTAXES
from lamella.dicom.encode import written_syntaxes
from lamella.dicom.header import NEEDED
from lamella.dicom.kind import CT_CLASSES

_LOSS = {"none": "without loss", "possible": "may have lost something; noted", "certain": "with loss; noted"}


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(one).replace("|", "\\|") for one in line) + " |" for line in lines) + "\n"


def read() -> str:
    """SOP classes, transfer syntaxes and elements that are read."""
    classes = table(("SOP class read", "UID"), ((UID(one).name, one) for one in sorted(CT_CLASSES)))
    syntaxes = table(
        ("transfer syntax read", "UID", "pixels"),
        (
            (UID(one).name, one, _LOSS[how.loss])
            for one, how in sorted(SYNTAXES.items(), key=lambda item: UID(item[0]).name)
        ),
    )
    needed = table(
        ("element needed in every slice", "values", "why"), ((named(k), *about) for k, about in NEEDED.items())
    )
    return "\n".join((classes, syntaxes, needed))


def written() -> str:
    """What a written file holds, element by element, and where each comes from."""
    kinds = ((str(tags.FIXED["SOPClassUID"]), "the thin series"), (str(ParametricMapStorage), "`--spread FILE.dcm`"))
    classes = table(("SOP class written", "UID", "for"), ((UID(uid).name, uid, what) for uid, what in kinds))
    syntaxes = table(
        ("transfer syntax written", "UID", "with"),
        ((UID(uid).name, uid, option) for option, uid in written_syntaxes().items()),
    )
    rows = [(named(keyword), dictionary_VR(keyword), source(keyword), after(keyword)) for keyword in elements()]
    return "\n".join((classes, syntaxes, table(("element written", "VR", "from", "with `--deidentify`"), rows)))


def elements() -> list[str]:
    """Keywords of everything that may be written, by tag."""
    found = {*tags.IDENTITY, *tags.FROM_FIRST, *tags.FROM_NEAREST, *tags.RECOMPUTED, *tags.FIXED}
    return sorted(found, key=lambda keyword: tag_for_keyword(keyword) or 0)


def source(keyword: str) -> str:
    """Where an element of a result comes from."""
    if keyword in tags.FIXED:
        value = tags.FIXED[keyword]
        return f"fixed: {'/'.join(map(str, value)) if isinstance(value, list) else value}"
    if keyword in tags.RECOMPUTED:
        return "made"
    where = "nearest source slice" if keyword in tags.FROM_NEAREST else "first source slice"
    if keyword in tags.IDENTITY:
        where += ", valid or not"
    return f"copied: {where}{', empty if missing' if keyword in tags.EMPTY_IF_MISSING else ''}"


def after(keyword: str) -> str:
    """What becomes of an element in a de-identified result."""
    if keyword in deidentify.PSEUDONYM:
        return "pseudonym"
    if keyword in deidentify.NEW_UIDS:
        return "new UID"
    if keyword in {*deidentify.ADDED, *tags.RECOMPUTED, *tags.FIXED} - deidentify.NOT_MADE:
        return "made, from nothing of the patient"
    if keyword in deidentify.KEPT:
        return "kept, if valid and ASCII"
    return "empty" if keyword in tags.EMPTY_IF_MISSING else "removed"


def left_out() -> str:
    """What is left out on purpose, and why."""
    return table(("element left out", "reason"), ((named(keyword), why) for keyword, why in tags.DROPPED.items()))


def character_sets() -> str:
    """The values of SpecificCharacterSet that are understood."""
    names = sorted({name for name in python_encoding if name.startswith("ISO") or name.startswith("GB")})
    return "```text\n" + "\n".join(names) + "\n```\n"


def named(keyword: str) -> str:
    """(gggg,eeee) and the name of an element."""
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {dictionary_description(keyword)}"


def network() -> str:
    """What `lamella serve` accepts and proposes, what it answers, and the options of its application entity."""
    from pynetdicom.sop_class import Verification

    from lamella.node import receive, settings

    accepted = [(UID(one).name, one, "SCP: C-STORE") for one in sorted(CT_CLASSES)]
    sent = (UID(uid := str(tags.FIXED["SOPClassUID"])).name, uid, "SCU: C-STORE to peers, as written; or STOW-RS")
    classes = table(("SOP class", "UID", "role"), [("Verification", Verification, "SCP: C-ECHO"), *accepted, sent])
    syntaxes = table(
        ("transfer syntax accepted", "UID"),
        ((UID(one).name, one) for one in sorted(receive.LOSSLESS, key=lambda uid: UID(uid).name)),
    )
    statuses = table(
        ("status", "when"),
        (
            (f"{code:04X}", when)
            for code, when in (
                (receive.SUCCESS, "the instance is on the disk, whole and under its final name"),
                (receive.DUPLICATE, "another instance with this SOPInstanceUID is there; the same again is Success"),
                (
                    receive.NO_RESOURCES,
                    "a limit is reached: queue, disk, instances or bytes of a study; send it again later",
                ),
                (receive.NO_MATCH, "no CT image, another SOP class than was said, or compressed with loss"),
                (receive.CANNOT_UNDERSTAND, "the data set cannot be read, or is of another instance than was said"),
            )
        ),
    )
    options = [
        (f"`{name}.{one.name}`", "required" if one.default is MISSING else one.default)
        for name, kind in (
            ("dicom", settings.DicomSettings),
            ("limits", settings.Limits),
            ("retry", settings.RetrySettings),
        )
        for one in fields(kind)
    ]
    return "\n".join((classes, syntaxes, statuses, table(("option", "default"), options)))


PAGES = {"read": read, "written": written, "left-out": left_out, "character-sets": character_sets, "network": network}
"""Part of the statement -> what makes it."""
