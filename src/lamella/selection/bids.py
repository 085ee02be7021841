"""Names of the Brain Imaging Data Structure (BIDS 1.10, entities and file names), which also CT cohorts of NIfTI use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_NAME = re.compile(
    r"(?P<subject>sub-[A-Za-z0-9]+)(?:_(?P<session>ses-[A-Za-z0-9]+))?(?P<others>(?:_[a-z]+-[A-Za-z0-9]+)*)"
    r"_(?P<suffix>[A-Za-z0-9]+)\.nii(?:\.gz)?"
)
_DESCRIBED = re.compile(r"_desc-[A-Za-z0-9]+")


@dataclass(frozen=True)
class BidsName:
    """What a file's name says.

    Attributes:
        modality: the suffix in capitals, such as CT or T1W.
        derived: where the thin series belongs below the folder of a derived data set.
    """

    modality: str
    derived: str


def bids_name(name: str) -> BidsName | None:
    """The parts of a base name such as sub-01_ses-2_acq-thick_ct.nii.gz; None where it is no name of BIDS."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    subject, session, others = found["subject"], found["session"], _DESCRIBED.sub("", found["others"])
    place = PurePosixPath(subject, *filter(None, [session]), "ct")
    stem = "_".join(filter(None, [subject, session])) + others
    return BidsName(found["suffix"].upper(), f"{place}/{stem}_desc-thin_ct.nii.gz")
