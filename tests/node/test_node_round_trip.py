"""A study through a node between dcmtk's storescu and storescp: what goes in, what comes out, what is said about it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
import SimpleITK as sitk
from tests.derived_series import complaints
from tests.dicom_builder import PATIENT_NAME
from tests.running_node import RunningNode, free_port, needed, running_node, start_node, storescp, study_at, wait_for

pytestmark = pytest.mark.slow


@dataclass
class Between:
    """A node, and what its peer received."""

    node: RunningNode
    received: Path


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Between]:
    needed("storescu", "storescp")
    folder, port = tmp_path_factory.mktemp("node"), free_port()
    keys = {"peers": [{"name": "pacs", "aet": "PACS", "host": "127.0.0.1", "port": port}], "send_to": ["pacs"]}
    with (
        storescp(folder / "received", port, "-v") as received,
        running_node(folder, tiny_model, **keys) as node,
    ):
        yield Between(node, received)


def series_of(folder: Path) -> dict[str, set[str]]:
    """SeriesInstanceUID -> SOPInstanceUIDs of the files of a folder."""
    found: dict[str, set[str]] = {}
    for file in folder.iterdir():
        header = pydicom.dcmread(file, stop_before_pixels=True)
        found.setdefault(header.SeriesInstanceUID, set()).add(header.SOPInstanceUID)
    return found


def test_a_study_comes_back_as_one_thin_series_and_twice_the_same(between: Between, tmp_path: Path) -> None:
    # SPEC C5, C7
    node, study = between.node, study_at(tmp_path / "in")
    files = sorted(study.iterdir())
    shuffled = [files[5], files[0], files[7], *files]  # out of order, and some twice
    sent = subprocess.run(
        ["storescu", "-aec", "LAMELLA", "127.0.0.1", str(node.port), *map(str, shuffled)],
        capture_output=True,
        timeout=60,
    )
    assert sent.returncode == 0
    (done,) = node.finished()
    assert done.parent.name == "sent"
    assert len(list((done / "source").iterdir())) == len(files)
    first = series_of(between.received)
    ((series, instances),) = first.items()
    header = pydicom.dcmread(next(between.received.iterdir()))
    assert (header.StudyInstanceUID, header.PatientName) == (pydicom.dcmread(files[0]).StudyInstanceUID, PATIENT_NAME)
    assert (header.SyntheticData, header.SliceThickness) == ("YES", 2.5)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(between.received), series))
    assert image.GetSize() == (32, 32, len(instances))
    assert image.GetSpacing()[2] == pytest.approx(2.5)
    assert node.store(study).returncode == 0
    (again,) = node.finished()
    assert again == done
    assert series_of(between.received) == first
    assert sum(1 for line in node.audit() if line["event"] == "sent") == 1
    assert node.audit()[0]["page"] == f"http://127.0.0.1:{node.http}/"  # people are told where to look


def test_dcm2niix_and_dciodvfy_read_what_came_back(between: Between, tmp_path: Path) -> None:
    needed("dcm2niix")
    shutil.rmtree(between.received)
    between.received.mkdir()
    before = len(between.node.folders("sent"))
    between.node.store(study_at(tmp_path / "in", 2))
    between.node.finished(before + 1)
    subprocess.run(["dcm2niix", "-o", str(tmp_path), "-f", "x", str(between.received)], check=True, capture_output=True)
    assert sitk.ReadImage(tmp_path / "x.nii").GetSpacing()[2] == pytest.approx(2.5)
    files = sorted(between.received.iterdir())
    assert complaints("dciodvfy", files[0]) == complaints("dciodvfy", files[-1]) == []
    assert complaints("dcentvfy", *files, *sorted((tmp_path / "in").iterdir())) == []


def test_late_slices_make_the_whole_study_anew(between: Between, tmp_path: Path) -> None:
    files = sorted(study_at(tmp_path / "in", 3, slices=10).iterdir())
    before = len(between.node.folders("sent"))
    between.node.store(*files[:6])
    (first,) = [
        one
        for one in between.node.finished(before + 1)
        if json.loads((one / "round.json").read_text())["instances"] == 6
    ]
    between.node.store(*files[6:])
    wait_for(lambda: not first.exists(), "the next round")
    (second,) = [one for one in between.node.finished(before + 1) if one.name.startswith(first.name[:32])]
    assert second.name == f"{first.name[:32]}-0002"
    assert len(list((second / "source").iterdir())) == 10


def test_results_that_come_back_are_never_thinned_again(between: Between, tmp_path: Path) -> None:
    node = between.node
    before = node.folders("sent", "refused")
    node.store(study_at(tmp_path / "in", 4))
    (done,) = set(node.finished(len(before) + 1)) - set(before)
    results = sorted(done.glob("result/*/series/*.dcm"))
    assert node.store(*results).returncode == 0
    (refused,) = set(node.finished(len(before) + 2)) - {*before, done}
    assert refused.parent.name == "refused"
    assert "synthetic" in json.loads((refused / "round.json").read_text())["reason"]
    assert len(list((refused / "source").iterdir())) == len(results)


def test_a_hostile_study_does_not_stop_the_queue(between: Between, tmp_path: Path) -> None:
    node = between.node
    before = node.folders("sent", "refused", "failed")
    hostile = study_at(tmp_path / "hostile", 5, tags={"Rows": 65535, "Columns": 65535})
    node.store(hostile)
    node.store(study_at(tmp_path / "good", 6))
    ends = sorted(one.parent.name for one in set(node.finished(len(before) + 2)) - set(before))
    assert ends == ["refused", "sent"]


def test_health_readiness_and_metrics(between: Between) -> None:
    node = between.node
    assert node.get("/health") == (200, "ok\n")
    assert json.loads(node.get("/ready")[1]) == {"ready": True, "reason": ""}
    metrics = node.get("/metrics")[1]
    assert f'lamella_studies{{state="sent"}} {len(node.folders("sent")):.1f}' in metrics
    assert 'lamella_store_answers_total{status="0000"}' in metrics


def test_nothing_of_a_patient_is_in_any_log_or_name(between: Between, tmp_path: Path) -> None:
    node = between.node
    texts = [node.log.read_text(), (node.state / "audit.jsonl").read_text(), node.get("/metrics")[1]]
    texts += [str(path.relative_to(node.state)) for path in node.state.rglob("*")]
    for planted in ("Mustermann", "Erika", "19700101", "498.1.", "498.2."):
        assert [text for text in texts if planted in text] == []


def test_a_second_node_is_refused_and_sigterm_ends_cleanly(tmp_path: Path, tiny_model: Path) -> None:
    needed("storescu")
    with running_node(tmp_path / "one", tiny_model, close_after_s=600) as node:
        node.store(study_at(tmp_path / "in"))
        other = start_node(node.config, waits=False)
        assert other.process.wait(60) == 1
        assert "Another node works on the state folder" in node.log.read_text()
        assert node.get("/health")[0] == 200
        assert node.end() == 0
        assert "Traceback" not in node.log.read_text()
        assert node.log.read_text().splitlines()[-1].endswith("INFO stopped")
        assert len(list((node.state / "incoming").glob("*/source/*"))) == 8
