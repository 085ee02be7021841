"""deploy/orthanc/lamella_thin.py in a running Orthanc: a stable thick series gets a thin one beside it, once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.dicom_builder import build_series, phantom_hu
from tests.running_node import study_at, wait_for
from tests.running_orthanc import Orthanc, running_orthanc

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "deploy" / "orthanc" / "lamella_thin.py"


def looked_at(server: Orthanc) -> dict[str, str]:
    """What became of each series that was looked at."""
    series = {one: server.ask(f"/series/{one}/metadata?expand") for one in server.ask("/series")}
    return {one: found["4242"] for one, found in series.items() if "4242" in found}


def test_a_stable_series_is_thinned_once(tmp_path: Path, tiny_model: Path) -> None:
    command = [sys.executable, "-m", "lamella", "mercure"]
    script: dict[str, Any] = {"Command": command, "Settings": {"thin": {"model": str(tiny_model), "spacing_mm": 2.5}}}
    settings = {"PythonScript": str(SCRIPT), "StableAge": 1, "Lamella": script}
    with running_orthanc(tmp_path / "orthanc", "libOrthancPython.so", "orthanc-python", **settings) as server:
        for file in sorted(study_at(tmp_path / "in").iterdir()):
            server.ask("/instances", file.read_bytes())
        wait_for(lambda: list(looked_at(server).values()) == ["done"] * 2, "a thin series beside the thick one")
        assert (server.ask("/statistics")["CountStudies"], server.ask("/statistics")["CountInstances"]) == (1, 8 + 16)
        log = tmp_path / "orthanc" / "log"
        build_series(tmp_path / "broken", phantom_hu(6), series_uid="1.2.9", per_slice={3: {"SliceThickness": 1}})
        for file in sorted((tmp_path / "broken").iterdir()):
            server.ask("/instances", file.read_bytes())
        wait_for(lambda: sorted(looked_at(server).values()) == ["3", "done", "done"], "the refusal of a broken series")
        assert "SliceThickness differs" in log.read_text(errors="replace")
        assert "Mustermann" not in log.read_text(errors="replace")
        for file in sorted((tmp_path / "in").iterdir()):  # sent again, and stable again
            server.ask("/instances", file.read_bytes())
        time.sleep(4)
        assert server.ask("/statistics")["CountSeries"] == 3
