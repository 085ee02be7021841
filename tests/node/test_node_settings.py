"""What a node may be told, and what is refused before anything is begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lamella.cli import main
from lamella.errors import UsageError
from lamella.files.config import fill, load
from lamella.node.dispatch import _within
from lamella.node.settings import NodeSettings, is_loopback

CONFIG = Path(__file__).parents[2] / "configs" / "node.yaml"
LEAST: dict[str, Any] = {"state": "s", "dicom": {"aet": "A", "port": 104}}
PACS = {"name": "pacs", "aet": "PACS", "host": "10.0.0.5", "port": 104}


def test_the_shipped_config_listens_on_this_machine_and_sends_to_nobody() -> None:
    settings = load(NodeSettings, CONFIG)
    assert settings.http is not None
    assert is_loopback(settings.dicom.host)
    assert is_loopback(settings.http.host)
    assert settings.receivers == ()


def test_without_http_and_peers_there_is_neither() -> None:
    settings = fill(NodeSettings, LEAST)
    assert (settings.http, settings.peers, settings.receivers) == (None, (), ())


def test_peers_of_both_kinds() -> None:
    web = {"name": "web", "stow": "https://archive.example/dicom-web"}
    settings = fill(NodeSettings, {**LEAST, "peers": [PACS, web], "send_to": ["web"]})
    assert [peer.name for peer in settings.receivers] == ["web"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"send_to": ["nobody"]}, "send_to names no peer: nobody. Found peers: none"),
        ({"peers": [PACS, PACS]}, "Two peers have the same name"),
        ({"peers": [{**PACS, "stow": "http://x"}]}, "The peer pacs needs either aet, host and port, or stow"),
        ({"peers": [{"name": "pacs", "aet": "PACS"}]}, "Found no host"),
        ({"peers": [{**PACS, "port": 0}]}, "peer pacs, port must lie between 1 and 65535. Found 0"),
        ({"peers": [{**PACS, "tls": True}]}, "Found no dicom.tls, expected certificate, key and ca"),
        ({"dicom": {"aet": "A" * 17, "port": 104}}, "is no AE title. Expected 1 to 16 characters"),
        ({"dicom": {"aet": "A\\B", "port": 104}}, "is no AE title"),
        (
            {"http": {"host": "0.0.0.0", "port": 80}},
            "http.host 0.0.0.0 is open to other machines. Found no http.token_file",
        ),
        ({"work": {"threads": 0}}, "work.threads must be 1 or more, or null. Found 0"),
        ({"work": {"hours": ["8", "9"]}}, 'work.hours must be two times such as "20:00"'),
        ({"work": {"hours": ["20:00", "20:00"]}}, "work.hours must be two different times"),
        ({"close_after_s": 0}, "close_after_s must be above 0"),
        ({"rules": {"kernel": "("}}, "The rule kernel is no regular expression"),
        ({"rules": {"thicknes_mm": [1, 2]}}, "Unknown key rules.thicknes_mm. Nearest: rules.thickness_mm"),
        ({"rules": "all"}, "rules must be a mapping"),
        ({"thin": {"mode": "sharp"}}, "thin.mode must be one of mean, texture, sample"),
    ],
)
def test_what_cannot_be_met_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        fill(NodeSettings, {**LEAST, **keys})
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rules": {"take": "some"}}, "rules.take must be"),
        ({"peers": [{"name": "w", "stow": "http://x", "token_file": "/nowhere"}]}, "The file /nowhere cannot be read"),
        ({"http": {"port": 8000, "token_file": "/nowhere"}}, "http.token_file /nowhere cannot be read"),
        ({"thin": {"spread": True}}, "thin.spread must be false"),
    ],
)
def test_serve_says_so_and_ends(
    tmp_path: Path, keys: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "node.yaml"
    config.write_text(yaml.safe_dump({**LEAST, "state": str(tmp_path / "state"), **keys}))
    assert main(["serve", str(config)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_hours_may_go_past_midnight() -> None:
    assert [_within(("20:00", "06:00"), now) for now in ("19:59", "20:00", "00:00", "05:59", "06:00")] == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert [_within(("08:00", "17:00"), now) for now in ("07:59", "08:00", "17:00")] == [False, True, False]
