"""A series by STOW-RS (PS3.18 10.5) in one request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from requests.auth import AuthBase

from lamella.node.send_dicom import Unsent
from lamella.node.settings import NodeSettings, Peer

_HAS_IT = 0x0111
"""FailureReason of an instance that the server has already (PS3.7 C.5.6)."""


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
    if peer.ca is not None:
        session.verify = str(peer.ca)
    if peer.token_file is not None:
        session.auth = _Bearer(peer.token_file.read_text(encoding="ascii").strip())
    client = DICOMwebClient(peer.stow, session=session, timeout=settings.retry.timeout_s)
    client.set_http_retry_params(retry=False)
    try:
        answer = client.store_instances([dcmread(file) for file in files])
    except requests.HTTPError as error:
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
        raise Unsent(f"it did not take {len(failed)} of {len(files)} instances (FailureReason {failed[0]:04X})")
