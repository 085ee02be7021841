"""Workers on several machines: the same bytes as a local run, and a lost node loses nothing (issue 27: Ray)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.batch.cohort import build_cohort, hashes, run, series_uid, whole

from lamella.batch.making import Making
from lamella.batch.ray_actors import RayActors
from lamella.batch.record import BatchRecord
from lamella.batch.run import BatchRequest, Standing, run_batch
from lamella.workflow.thin_study import ThinRequest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

COUNT = 6
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_cohort(tmp_path_factory.mktemp("cohort") / "in", COUNT)


@pytest.fixture(scope="module")
def local(cohort: Path, tiny_model: Path) -> BatchRecord:
    """What processes of this machine make of it."""
    assert run(cohort, cohort.parent / "local", "--model", tiny_model, "--spacing-mm", 2.5).returncode == 0
    return whole(cohort.parent / "local")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose head has one processor, for one worker."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster()
    started(lambda: made.add_node(**NODE, include_dashboard=False))
    yield made
    made.shutdown()


def started(start: Callable[[], Any], tries: int = 3) -> Any:
    """A node of the cluster; Ray gives up after 30 s, which a busy machine may need."""
    try:
        return start()
    except Exception as error:
        if tries == 1 or "timed out" not in str(error):
            raise
        return started(start, tries - 1)


def same_but_seconds(record: BatchRecord) -> BatchRecord:
    return dataclasses.replace(record, cases=tuple(dataclasses.replace(one, seconds=0.0) for one in record.cases))


def test_two_nodes_of_which_one_is_killed_make_the_same(
    cohort: Path, local: BatchRecord, tiny_model: Path, tmp_path: Path, cluster: Any
) -> None:
    second = started(lambda: cluster.add_node(**NODE))
    out = tmp_path / "out"
    lost = threading.Event()
    ended: list[str] = []

    def told(standing: Standing) -> None:
        ended.append(standing.finished.record.series)
        if not lost.is_set():  # both have begun; what the second has in hand is lost
            lost.set()
            cluster.remove_node(second, allow_graceful=False)

    making = Making(out, ThinRequest.of(source=cohort, output=out, model=str(tiny_model), spacing_mm=2.5))
    record = run_batch(
        BatchRequest((cohort,), making), lambda one: RayActors(one, 2, cluster.address), lambda *_: None, told
    )
    assert lost.is_set()
    assert sorted(ended) == [series_uid(number) for number in range(1, COUNT + 1)]
    assert same_but_seconds(record) == same_but_seconds(local)
    assert hashes(whole(out)) == hashes(local)


def test_a_cluster_of_this_machine_gives_the_same_records(
    cohort: Path, local: BatchRecord, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["--model", tiny_model, "--spacing-mm", 2.5, "--ray", "local"]
    told = run(cohort, tmp_path / "out", *words)
    assert told.returncode == 0, told.stderr
    assert same_but_seconds(whole(tmp_path / "out")) == same_but_seconds(local)
    assert run(cohort, tmp_path / "out", *words).stdout.count(" kept ") == COUNT


@pytest.mark.usefixtures("cluster")  # `local` is a cluster of its own, also beside one that runs on this machine
def test_a_cluster_that_is_not_there_or_too_small_is_refused(cohort: Path, tmp_path: Path) -> None:
    told = run(cohort, tmp_path / "out", "--ray", "127.0.0.1:1")
    assert (told.returncode, "There is no Ray cluster at 127.0.0.1:1" in told.stderr) == (2, True)
    told = run(cohort, tmp_path / "out", "--ray", "local", "--gpus", 3)
    assert (told.returncode, "No machine of the cluster has" in told.stderr) == (2, True)
    told = run(cohort, tmp_path / "out", "--ray", "local", "--model", "nothing")
    assert (told.returncode, "There is no model 'nothing'" in told.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
