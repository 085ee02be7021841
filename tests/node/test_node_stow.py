"""What DICOMweb servers, and proxies before them, answer to a result: nothing that is not stored counts as sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.running_node import study_at

from lamella.node.journal import Journal
from lamella.node.send import Sender
from lamella.node.settings import DicomSettings, NodeSettings, Peer
from lamella.node.states import States, read_json, write_json

KEY = "0" * 32
REFUSED = json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}})
HAS_ONE = {"00081197": {"vr": "US", "Value": [0x0111]}}
NO_REASON = json.dumps({"00081198": {"vr": "SQ", "Value": [{}]}})


def has(failed: list[dict[str, Any]]) -> str:
    """An answer that says what was not stored, and why."""
    return json.dumps({"00081198": {"vr": "SQ", "Value": failed}})


@contextmanager
def server(status: int, headers: dict[str, str], body: str) -> Iterator[tuple[str, list[str]]]:
    """Answers every request alike; its address, and the requests that it got."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            seen.append(f"{self.command} {self.path}")
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                self.rfile.readline()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}", seen
        one.shutdown()


def sent_to(address: str, folder: Path) -> tuple[bool, str, int]:
    """Whether a result counts as sent after one try, why not, and how many tries are noted."""
    peer = Peer("web", stow=address)
    settings = NodeSettings(folder / "state", DicomSettings("LAMELLA", 104), peers=(peer,), send_to=("web",))
    states = States(settings.state)
    states.begin(KEY)
    one = states.move(states.close_study(KEY), "working")
    study_at(one.result / "case" / "series", slices=2)
    write_json(one.result / "case" / "record.json", {"key": "k"})
    write_json(one.folder / "send.json", {})
    Sender(settings, states, Journal(settings.state), peer).step()
    done = bool(states.rounds("sent"))
    states.close()
    lines = [json.loads(line) for line in (settings.state / "audit.jsonl").read_text().splitlines()]
    tries = 0 if done else read_json(one.folder / "send.json").get("web", {}).get("tries", 0)
    return done, "; ".join(line["reason"] for line in lines if "reason" in line), tries


@pytest.mark.parametrize(
    ("status", "kind", "body", "reason"),
    [
        (202, "application/dicom+json; charset=utf-8", REFUSED, "did not take 1 of 2 instances (FailureReason A700)"),
        (200, "application/dicom+json", NO_REASON, "did not take 1 of 2 instances"),
        (200, "application/dicom+json", "no JSON", "HTTP 200|no answer|not expected"),
        (200, "text/html; charset=utf-8", "<p>Please log in", "no DICOMweb answer"),
        (503, "text/plain", "later", "it answered HTTP 503"),
        (409, "application/dicom+json", REFUSED, "it answered HTTP 409"),
        (409, "application/dicom+json", has([HAS_ONE]), "it answered HTTP 409"),
        (409, "application/dicom+json", has([HAS_ONE, {}]), "it answered HTTP 409"),
        (409, "application/dicom+json", "[]", "it answered HTTP 409"),
        (409, "application/dicom+json", "no JSON", "it answered HTTP 409"),
    ],
)
def test_what_is_not_stored_is_tried_again_later(
    tmp_path: Path, status: int, kind: str, body: str, reason: str
) -> None:
    with server(status, {"Content-Type": kind}, body) as (address, seen):
        done, said, tries = sent_to(address, tmp_path)
    assert (done, tries, seen) == (False, 1, ["POST /studies"])
    assert any(one in said for one in reason.split("|"))


@pytest.mark.parametrize("kind", ["application/dicom+json", "Application/JSON;charset=UTF-8"])
def test_what_is_stored_counts_as_sent(tmp_path: Path, kind: str) -> None:
    with server(200, {"Content-Type": kind}, "{}") as (address, _):
        assert sent_to(address, tmp_path)[0]


def test_a_server_that_has_all_already_counts_as_sent(tmp_path: Path) -> None:
    with server(409, {"Content-Type": "application/dicom+json"}, has([HAS_ONE, HAS_ONE])) as (address, _):
        assert sent_to(address, tmp_path)[0]


@pytest.mark.parametrize("status", [302, 307, 308])
def test_an_answer_that_leads_elsewhere_is_not_followed(tmp_path: Path, status: int) -> None:
    with (
        server(200, {"Content-Type": "text/html"}, "") as (elsewhere, seen),
        server(status, {"Location": elsewhere}, "") as (address, _),
    ):
        done, said, tries = sent_to(address, tmp_path)
    assert (done, tries, seen) == (False, 1, [])
    assert f"it answered HTTP {status}" in said
