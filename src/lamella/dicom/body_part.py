"""The region that a header says was scanned, in six words of our own: the header's text may hold a name.

Sources: PS3.3 C.7.6.1.1.2 (BodyPartExamined), PS3.16 annex L (its terms and the meanings of AnatomicRegionSequence). Many
scanners write free text, so single words of it count.
"""

from __future__ import annotations

import re
from typing import Literal

from pydicom.dataset import Dataset

from lamella.dicom.elements import items_of, text_of

Region = Literal["chest", "abdomen", "head", "neck", "spine", "limb"]

_WORDS: dict[Region, str] = {
    "chest": "CHEST CHESTABDOMEN CHESTABDPELVIS NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV THORAX THORACIC LUNG LUNGS HEART "
    "RIB RIBS STERNUM BREAST MEDIASTINUM BRONCHUS",
    "abdomen": "ABDOMEN ABDOMINAL ABDOMENPELVIS LIVER KIDNEY PANCREAS SPLEEN STOMACH COLON BOWEL GALLBLADDER PELVIS BLADDER "
    "PROSTATE UTERUS",
    "head": "HEAD HEADNECK BRAIN SKULL FACE ORBIT EYE SINUS SINUSES JAW MANDIBLE MAXILLA TMJ EAR IAC NOSE SELLA ZYGOMA",
    "neck": "NECK CSPINE LARYNX PHARYNX THYROID CAROTID",
    "spine": "SPINE TSPINE LSPINE LSSPINE TLSPINE SSPINE SACRUM COCCYX",
    "limb": "ARM HAND WRIST FOREARM ELBOW HUMERUS SHOULDER HIP LEG FEMUR THIGH KNEE CALF TIBIA ANKLE FOOT FINGER TOE EXTREMITY "
    "UPRLIMB LWRLIMB",
}
"""In the order in which they count where a text holds several."""

_REGION_OF: dict[str, Region] = {word: region for region, words in _WORDS.items() for word in words.split()}


def body_part_of(header: Dataset) -> Region | Literal[""]:
    """The region, from BodyPartExamined or the meaning of AnatomicRegionSequence; empty where neither says one."""
    texts = [text_of(header, "BodyPartExamined")]
    texts += [text_of(item, "CodeMeaning") for item in items_of(header, "AnatomicRegionSequence")]
    for text in texts:
        found = {_REGION_OF[word] for word in re.findall("[A-Z]+", text.upper()) if word in _REGION_OF}
        for region in _WORDS:
            if region in found:
                return region
    return ""
