"""The node's pages without a browser: what is taken in, what is shown, who may ask. Issue 27, item 2."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from tests.node_with_pages import KEY, OWN, SECRET, Node, finished, zipped
from tests.running_node import study_at

from lamella.node.http import build_app
from lamella.node.settings import HttpSettings
from lamella.node.states import SENT, STATES, read_json
from lamella.node.worker import Progress


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "state")


def test_a_zip_becomes_a_study_that_waits(node: Node, tmp_path: Path) -> None:
    files = sorted(study_at(tmp_path / "in").glob("*.dcm"))
    lines = node.put(zipped(*files, more=[("Mustermann/a.txt", b"hello")]))
    assert [line["kept"] for line in lines] == [*[True] * 8, False]
    assert (lines[8]["file"], lines[8]["of"], lines[8]["reason"]) == (9, 9, "it is no DICOM file")
    (key,) = {line["key"] for line in lines[:8]}
    assert node.shown()[0]["state"] == "incoming"
    closed = node.http.post("/files/close", content=json.dumps([key])).json()["closed"]
    assert closed == [f"{key}-0001"]
    (one,) = node.states.rounds("ready")
    assert {dcmread(file).SOPInstanceUID for file in one.source.iterdir()} == {dcmread(f).SOPInstanceUID for f in files}
    for kept, sent in zip(sorted(one.source.iterdir()), files, strict=True):
        assert len(kept.read_bytes()) > 0.5 * len(sent.read_bytes())
    assert list(node.states.temporary.iterdir()) == []
    log = (node.states.root / "audit.jsonl").read_text()
    assert "Mustermann" not in log + json.dumps(node.shown())
    assert log.count('"event": "stored"') == 8
    assert node.http.post("/files/close", content=json.dumps([key, "../x"])).json() == {"closed": []}


def test_single_files_are_taken_and_come_twice_without_harm(node: Node, tmp_path: Path) -> None:
    files = sorted(study_at(tmp_path / "in").glob("*.dcm"))
    assert [node.put(file.read_bytes())[0]["kept"] for file in files] == [True] * 8
    assert node.put(files[0].read_bytes())[0] | {"key": ""} == {
        **{"file": 1, "of": 1, "kept": True, "reason": "duplicate", "key": ""}
    }


def test_what_is_not_taken_says_why(node: Node, tmp_path: Path) -> None:
    file = sorted(study_at(tmp_path / "in").glob("*.dcm"))[0]
    image = dcmread(file)

    def bent(**meta: str) -> bytes:
        for keyword, value in meta.items():
            setattr(image.file_meta, keyword, value)
        image.save_as(tmp_path / "bent.dcm")
        return (tmp_path / "bent.dcm").read_bytes()

    whole, pixels = file.read_bytes(), image.PixelData
    image.PixelData = encapsulate([pixels])
    lossy = bent(TransferSyntaxUID="1.2.840.10008.1.2.4.50")
    for content, reason in (
        (b"P", "it is no DICOM file"),
        (whole[:132], "it has no TransferSyntaxUID"),
        (whole[:200], "it has no TransferSyntaxUID"),
        (whole[:400], "SOPInstanceUID is missing or no UID"),
        (lossy, "its pixels are compressed with loss, or in a way that cannot be read"),
        (bent(MediaStorageSOPClassUID="1.2.840.10008.5.1.4.1.1.4"), "it is no CT image"),
    ):
        (line,) = node.put(content)
        assert (line["kept"], line["reason"].partition(" (")[0]) == (False, reason)
    other = whole.replace(image.SOPInstanceUID.encode(), image.SOPInstanceUID.encode()[:-1] + b"9", 1)
    assert node.put(other)[0]["reason"] == "SOPInstanceUID is not that of the request"
    assert node.shown() == []


def test_a_damaged_zip_is_refused_without_its_names(node: Node, tmp_path: Path) -> None:
    whole = zipped(*sorted(study_at(tmp_path / "in").glob("*.dcm")))
    (line,) = node.put(whole[: len(whole) // 2])
    assert "ZIP" in line["error"] or "zip" in line["error"]
    (bomb,) = node.put(zipped(more=[("Mustermann.dcm", b"\0" * (1 << 26))]).replace(b"\0\0\0\4\0\0", b"\0\0\0\4\0\0"))
    assert bomb.get("error") or not bomb["kept"]
    assert "Mustermann" not in json.dumps([line, bomb])
    assert list(node.states.temporary.iterdir()) == []


def test_limits_hold_before_anything_is_kept(tmp_path: Path) -> None:
    content = zipped(*sorted(study_at(tmp_path / "in").glob("*.dcm")))
    for number, (limits, status, word) in enumerate(
        [
            ({"study_gb": 1e-6}, 413, "limits.study_gb"),
            ({"disk_free_gb": 1e6}, 507, "disk"),
            ({"associations": 0}, 503, ""),
        ]
    ):
        node = Node(tmp_path / f"state-{number}", **limits)
        answer = node.http.put("/files", content=content)
        assert answer.status_code == status
        assert word in answer.json()["error"]
        assert list(node.states.temporary.iterdir()) == []
    few = Node(tmp_path / "few", study_instances=5)
    assert "limits.study_instances" in few.put(content)[0]["error"]
    small = Node(tmp_path / "small", instance_mb=0)
    assert "limits.instance_mb" in small.put(content)[0]["reason"]
    without_length = few.http.put("/files", content=iter([content]))
    assert without_length.status_code == 411


@pytest.mark.parametrize("when", ["body", "answer"])
def test_a_sender_that_goes_away_leaves_nothing(tmp_path: Path, when: str) -> None:
    """With one upload at a time, the next one has its place."""
    node = Node(tmp_path / "state", associations=1)
    content = zipped(*sorted(study_at(tmp_path / "in").glob("*.dcm")))
    headers = [(b"content-length", str(len(content)).encode()), (b"host", b"127.0.0.1:8642"), (b"origin", OWN.encode())]
    scope = {"type": "http", "method": "PUT", "path": "/files", "headers": headers, "query_string": b""}
    part = {"type": "http.request", "body": content[:100] if when == "body" else content, "more_body": when == "body"}
    coming = [part, {"type": "http.disconnect"}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        raise OSError("nobody is there")

    for _ in range(2):
        coming = [part, *[{"type": "http.disconnect"}] * 3]
        with contextlib.suppress(OSError, ClientDisconnect):
            asyncio.run(node.http.app(scope, receive, send))
        assert list(node.states.temporary.iterdir()) == []
    assert len(node.put(content)) == 8


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:3000"])
def test_pages_of_others_change_nothing(node: Node, origin: str | None) -> None:
    one = finished(node, "refused")
    headers = {} if origin is None else {"Origin": origin}
    client = TestClient(build_app(node.settings.state, HttpSettings(8642), pages=node.pages.routes()), base_url=OWN)
    for method, path in (("POST", f"/studies/{one.name}/remove"), ("PUT", "/files"), ("POST", "/files/close")):
        assert client.request(method, path, headers=headers, content=b"[]").status_code == 403
    assert one.folder.is_dir()


def test_a_refused_study_is_tried_again_or_removed(node: Node) -> None:
    one = finished(node, "refused")
    (study,) = node.shown()
    assert (study["state"], study["can"]) == ("refused", ["retry", "remove"])
    assert study["reason"].startswith("Series ")
    assert "1.2.826" not in study["reason"]
    assert node.post(f"/studies/{one.name}/retry") == (200, "")
    (again,) = node.states.rounds("ready")
    assert again.facts()["attempts"] == 0
    assert node.post(f"/studies/{one.name}/retry")[0] == 409
    assert node.post(f"/studies/{one.name}/remove") == (200, "")
    assert node.shown() == []
    assert "not here any more" in node.post(f"/studies/{one.name}/remove")[1]
    events = [json.loads(line)["event"] for line in (node.states.root / "audit.jsonl").read_text().splitlines()]
    assert events == ["retry", "remove"]


def test_a_result_is_downloaded_sent_and_sent_again(node: Node) -> None:
    one = finished(node, "failed", result=True)
    (study,) = node.shown()
    assert study["can"] == ["retry", "send", "download", "remove"]
    assert study["results"] == [{"slices": 2, "thickness_mm": 1.0, "spacing_mm": 1.0, "page": False, "picture": False}]
    answer = node.http.get(f"/studies/{one.name}/result.zip")
    assert answer.headers["content-disposition"] == f'attachment; filename="lamella-{one.name}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == {"series-1/IM_00001.dcm": b"first", "series-1/IM_00002.dcm": b"second"}
    assert "no such peer" in node.post(f"/studies/{one.name}/send?peer=nobody")[1]
    assert node.post(f"/studies/{one.name}/send?peer=archive") == (200, "")
    (sending,) = node.states.rounds("working")
    assert read_json(sending.folder / SENT) == {
        "pacs": {"tries": 0, "next": 0, "sent": []},
        "archive": {"sent": [], "asked": True},
    }
    (study,) = node.shown()
    assert study["state"] == "sending"
    assert [one["name"] for one in study["peers"] if not one["there"]] == ["archive", "pacs"]
    assert "Remove it when it is done" in node.post(f"/studies/{one.name}/remove")[1]


def test_what_waits_has_no_result(node: Node) -> None:
    one = finished(node, "refused")
    assert node.http.get(f"/studies/{one.name}/result.zip").status_code == 404
    assert node.http.get(f"/studies/{one.name}/report/1").status_code == 404
    assert node.post(f"/studies/{one.name}/send?peer=pacs") == (409, "The study has no result to send.")


@pytest.mark.parametrize("name", ["..", "%2e%2e", ".", "tmp", "lock", f"{KEY}-0001x", "..%2f..%2f"])
def test_only_names_of_studies_lead_anywhere(node: Node, name: str) -> None:
    for verb in ("remove", "retry", "send"):
        assert node.http.post(f"/studies/{name}/{verb}").status_code in (404, 405, 409)
    assert node.states.find(name) is None
    assert {one.name for one in node.states.root.iterdir() if one.is_dir()} == {*STATES, "tmp"}


def test_progress_is_that_of_the_study_in_work(node: Node) -> None:
    one = finished(node, "sent")
    node.states.move(one, "working")
    assert node.shown()[0]["progress"] == {"stage": "look through"}
    node.progress = Progress(1, 1, "mean", 0.25, 10.0, 12.0)
    assert node.shown()[0]["progress"] == {"stage": "mean", "fraction": 0.25, "left_s": 42.0, "whole": True}
    node.progress = Progress(1, 2, "mean", 0.25, 10.0, None)
    assert node.shown()[0]["progress"] | {"stage": ""} == {
        **{"stage": "", "fraction": 0.25, "left_s": 30.0, "whole": False, "series": 1, "of": 2}
    }


def test_a_token_is_given_once_and_kept_where_no_script_reads_it(node: Node, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    base = "http://node.example"
    client = node.client(HttpSettings(80, "0.0.0.0", tmp_path / "token"), base)
    page = {"Accept": "text/html"}
    asked = client.get("/", headers=page, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login")
    assert client.get("/studies").status_code == 401
    assert "Token" in client.get("/login").text
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    given = client.post("/login", data={"token": SECRET}, follow_redirects=False)
    cookie = given.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert SECRET not in cookie
    assert client.get("/", headers=page).status_code == 200
    value = cookie.split("=", 1)[1].split(";")[0]
    until, _, proof = value.partition(".")
    for forged in (f"{int(until) + 1}.{proof}", f"1.{proof}", proof, ""):
        client.cookies.clear()
        assert client.get("/studies", headers={"Cookie": f"lamella={forged}"}).status_code == 401
    assert client.post("/login", data={"token": SECRET}, headers={"Origin": "http://evil.example"}).status_code == 403


def test_answers_stay_out_of_caches_and_frames(node: Node) -> None:
    for path in ("/", "/studies", "/health", "/nothing"):
        headers = node.http.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    policy = node.http.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
