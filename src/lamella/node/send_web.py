"""A series by STOW-RS (PS3.18 10.5) in one request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from requests.auth import AuthBase

from lamella.node.send_dicom import Unsent
from lamella.node.settings import NodeSettings, Peer

_HAS_IT = 0x0111
"""FailureReason of an instance that the server has already (PS3.7 C.5.6)."""

_ANSWERS = ("application/dicom+json", "application/json", "application/dicom+xml", "application/xml")


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def stow(files: Sequence[Path], peer: Peer, settings: NodeSettings) -> None:
    """Send files.

    Raises:
        Unsent: the server did not answer, or did not take all.
    """
    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)
    session = requests.Session()
    session.trust_env = False  # no proxy, and no password from a file that nobody thinks of
    session.hooks["response"].append(_check)
    if peer.ca is not None:
        session.verify = str(peer.ca)
    if peer.token_file is not None:
        session.auth = _Bearer(peer.token_file.read_text(encoding="ascii").strip())
    client = DICOMwebClient(peer.stow, session=session, timeout=settings.retry.timeout_s)
    client.set_http_retry_params(retry=False)
    try:
        answer = client.store_instances([dcmread(file) for file in files])
    except requests.HTTPError as error:
        if _has_all(error.response, len(files)):
            return
        raise Unsent(f"it answered HTTP {'?' if error.response is None else error.response.status_code}") from None
    except (requests.RequestException, OSError) as error:
        raise Unsent(f"no answer ({type(error).__name__})") from None
    finally:
        session.close()
    failed = [
        item.get("FailureReason")
        for item in answer.get("FailedSOPSequence", [])
        if item.get("FailureReason") != _HAS_IT
    ]
    if failed:
        raise Unsent(f"it did not take {len(failed)} of {len(files)} instances (FailureReason {failed[0] or 0:04X})")


def _has_all(response: requests.Response | None, count: int) -> bool:
    """Whether a server that stored nothing (409 Conflict, PS3.18 10.5.3) did so because it has all instances already."""
    if response is None or response.status_code != HTTPStatus.CONFLICT:
        return False
    try:
        failed = Dataset.from_json(response.json()).get("FailedSOPSequence", [])
    except (ValueError, KeyError, TypeError, AttributeError):  # no DICOM JSON
        return False
    return len(failed) == count and all(item.get("FailureReason") == _HAS_IT for item in failed)


def _check(response: requests.Response, *_: Any, **__: Any) -> None:
    """Before the client sees an answer: it would follow to another host, and take for success what it cannot read.

    Raises:
        Unsent: the answer leads elsewhere, or is none of DICOMweb.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    why = ""
    if 300 <= response.status_code < 400:
        why = "; the node connects to no other address"
    elif response.ok and response.content and kind not in _ANSWERS:
        why = " with something that is no DICOMweb answer"
    if why:
        response.close()
        raise Unsent(f"it answered HTTP {response.status_code}{why}")
    response.headers["Content-Type"] = kind  # the client knows it without parameters alone
