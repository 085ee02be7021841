"""The application of a state folder: who may ask, and what is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.running_node import free_port

from lamella.errors import LamellaError, UsageError
from lamella.node.http import HttpServer, build_app
from lamella.node.settings import HttpSettings
from lamella.node.states import STATES

SECRET = "0123456789abcdef"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for name in STATES:
        (tmp_path / name).mkdir()
    (tmp_path / "refused" / f"{'0' * 32}-0001").mkdir()
    return tmp_path


def client(state: Path, http: HttpSettings, host: str = "127.0.0.1", reason: str = "") -> TestClient:
    pages = [Route("/", lambda request: PlainTextResponse("a page"))]
    app = build_app(state, http, lambda: reason, lambda: {0: 3, 0xA700: 1}, pages)
    return TestClient(app, base_url=f"http://{host}")


def test_figures_are_those_of_the_folder(state: Path) -> None:
    text = client(state, HttpSettings(80)).get("/metrics").text
    assert 'lamella_studies{state="refused"} 1.0' in text
    assert 'lamella_studies{state="sent"} 0.0' in text
    assert 'lamella_store_answers_total{status="A700"} 1.0' in text
    assert "lamella_disk_free_bytes" in text


def test_a_node_that_cannot_work_says_why(state: Path) -> None:
    assert client(state, HttpSettings(80)).get("/ready").status_code == 200
    answer = client(state, HttpSettings(80), reason="the disk is full").get("/ready")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the disk is full")
    assert client(state, HttpSettings(80)).get("/health").text == "ok\n"


def test_a_token_is_asked_for(state: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    one = client(state, HttpSettings(80, "0.0.0.0", tmp_path / "token"), host="node.example")
    assert one.get("/health").status_code == 200
    for path in ("/", "/ready", "/metrics", "/nothing"):
        assert one.get(path).status_code == 401
        assert one.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert one.get("/", headers={"Authorization": f"Bearer {SECRET}"}).text == "a page"


def test_a_short_secret_is_refused(state: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    with pytest.raises(UsageError, match="is short"):
        build_app(state, HttpSettings(80, "0.0.0.0", tmp_path / "token"))


def test_a_foreign_name_of_this_machine_is_refused(state: Path) -> None:
    assert client(state, HttpSettings(80)).get("/").text == "a page"
    assert client(state, HttpSettings(80), host="evil.example").get("/").status_code == 400


def test_a_port_that_is_taken_is_said(state: Path) -> None:
    http = HttpSettings(free_port())
    one = HttpServer(build_app(state, http), http)
    one.start()
    with pytest.raises(LamellaError, match=rf"cannot listen at 127.0.0.1:{http.port}"):
        HttpServer(build_app(state, http), http).start()
    one.stop()


def test_the_node_answers_under_any_address_that_is_this_machine_alone(state: Path) -> None:
    for host, name in (("::1", "[::1]:80"), ("127.0.0.2", "127.0.0.2")):
        assert client(state, HttpSettings(80, host), host=name).get("/").text == "a page"
        assert client(state, HttpSettings(80, host), host="evil.example").get("/").status_code == 400


def test_behind_a_proxy_of_this_machine_the_token_is_what_counts(state: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    one = client(state, HttpSettings(80, token_file=tmp_path / "token"), host="thin.hospital.example")
    assert one.get("/").status_code == 401
    assert one.get("/", headers={"Authorization": f"Bearer {SECRET}"}).text == "a page"
    given = one.post("/login", data={"token": SECRET}, headers={"Origin": "https://thin.hospital.example"})
    assert given.text == "a page"
    evil = {"Origin": "https://evil.example"}
    assert one.post("/login", data={"token": SECRET}, headers=evil).status_code == 403
