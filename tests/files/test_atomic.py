"""Publishing: OUTPUT is absent, the old result, or the whole new one; never anything between."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from lamella.errors import LamellaError, UsageError
from lamella.files.atomic import staged_file, staged_folder
from lamella.files.output_checks import check_output

SLICE = "IM_00001.dcm"


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def old_result(output: Path) -> None:
    output.mkdir()
    (output / SLICE).write_bytes(b"old")
    (output / "IM_00002.dcm").write_bytes(b"old too")


def publish_and_fail(output: Path, error: type[BaseException], *, overwrite: bool) -> None:
    before = content(output)
    with staged_folder(output, overwrite=overwrite) as stage:
        (stage / SLICE).write_bytes(b"new")
        assert content(output) == before
        raise error


def test_a_folder_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "thin"
    with staged_folder(output, overwrite=False) as stage:
        (stage / SLICE).write_bytes(b"new")
        assert stage.is_dir()
        assert not output.exists()
        (hidden,) = os.listdir(output.parent)
        assert re.fullmatch(rf"\.thin\.lamella-{os.getpid()}-[0-9a-f]{{8}}", hidden)
    assert content(output) == {SLICE: b"new"}
    assert os.listdir(output.parent) == ["thin"]


def test_a_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    output = tmp_path / "thin.nii.gz"
    with staged_file(output, overwrite=False) as stage:
        assert stage.name == "thin.nii.gz"  # writers choose the format by the name's ending
        stage.write_bytes(b"new")
        assert not output.exists()
    assert output.read_bytes() == b"new"
    with staged_file(output, overwrite=True) as stage:
        stage.write_bytes(b"newer")
    assert output.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["thin.nii.gz"]


def test_a_block_that_writes_no_file_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(LamellaError, match="Nothing was written"), staged_file(tmp_path / "a.nii", overwrite=False):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_not_even_parents(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        publish_and_fail(tmp_path / "a" / "b" / "thin", error, overwrite=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_overwrite_leaves_the_old_result(tmp_path: Path, error: type[BaseException]) -> None:
    output = tmp_path / "thin"
    old_result(output)
    before = content(output)
    with pytest.raises(error):
        publish_and_fail(output, error, overwrite=True)
    assert content(output) == before
    assert os.listdir(tmp_path) == ["thin"]


def test_an_overwrite_replaces_the_whole_folder(tmp_path: Path) -> None:
    output = tmp_path / "thin"
    old_result(output)
    with staged_folder(output, overwrite=True) as stage:
        (stage / SLICE).write_bytes(b"new")
    assert content(output) == {SLICE: b"new"}
    assert os.listdir(tmp_path) == ["thin"]


# SPEC C6
@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_an_existing_output_is_refused_without_overwrite(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "thin"
    if kind == "folder":
        output.mkdir()
    elif kind == "file":
        output.write_bytes(b"old")
    else:
        output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"OUTPUT exists: .*--overwrite") as caught:
        check_output(output, tmp_path / "source", overwrite=False)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="OUTPUT exists"), staged_folder(output, overwrite=False):
        pass
    with pytest.raises(UsageError, match="OUTPUT exists"), staged_file(output, overwrite=False):
        pass
    assert os.listdir(tmp_path) == ["thin"]


def test_an_output_that_appears_during_the_run_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "thin"

    def publish_late() -> None:
        with staged_folder(output, overwrite=False) as stage:
            (stage / SLICE).write_bytes(b"new")
            old_result(output)

    with pytest.raises(UsageError, match="appeared during the run"):
        publish_late()
    assert content(output)[SLICE] == b"old"
    assert os.listdir(tmp_path) == ["thin"]


def test_overwrite_replaces_results_only(tmp_path: Path) -> None:
    """--overwrite on a folder of other things (a home folder, say) must not delete them."""
    output = tmp_path / "documents"
    old_result(output)
    (output / "thesis.docx").write_bytes(b"years of work")
    (output / ".DS_Store").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no result of Lamella: .* 1 of them, first thesis\.docx"):
        check_output(output, None, overwrite=True)
    with pytest.raises(UsageError, match="no result of Lamella"), staged_folder(output, overwrite=True):
        pass
    check_output(output, None, overwrite=True, replaceable=("IM_*.dcm", "*.docx"))
    (output / "IM_0003.dcm").write_bytes(b"of a scanner")
    (output / "sample-01 mine").mkdir()
    (output / "sample-01 mine" / SLICE).write_bytes(b"within a folder of its own")
    (output / "empty").mkdir()
    with pytest.raises(UsageError, match="4 of them, first IM_0003"):
        check_output(output, None, overwrite=True)
    (output / "empty").rmdir()
    (output / "IM_0003.dcm").unlink()
    with pytest.raises(UsageError, match="first sample-01 mine/IM"):  # a star stays within a name
        check_output(output, None, overwrite=True, replaceable=("IM*5.dcm", "sample*", SLICE, "IM_00002.dcm", "*.docx"))
    (output / "sample-01 mine" / SLICE).unlink()
    (output / "sample-01 mine").rmdir()
    (output / "thesis.docx").unlink()
    check_output(output, None, overwrite=True)


def test_overwrite_does_not_change_a_folder_into_a_file_or_a_file_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="not a folder"):
        check_output(tmp_path / "file", None, overwrite=True)
    with pytest.raises(UsageError, match="not a file"):
        check_output(tmp_path / "folder", None, overwrite=True, folder=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_output_and_source_may_not_hold_each_other(tmp_path: Path, overwrite: bool) -> None:
    source = tmp_path / "study" / "thick"
    source.mkdir(parents=True)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(UsageError, match="OUTPUT is SOURCE"):
        check_output(source, source, overwrite=overwrite)
    with pytest.raises(UsageError, match="OUTPUT is SOURCE"):
        check_output(tmp_path / "link", source, overwrite=overwrite)
    with pytest.raises(UsageError, match="OUTPUT lies inside SOURCE"):
        check_output(source / "a" / "thin", source, overwrite=overwrite)
    with pytest.raises(UsageError, match="OUTPUT lies inside SOURCE"):
        check_output(tmp_path / "link" / "thin", source, overwrite=overwrite)
    with pytest.raises(UsageError, match="SOURCE lies inside OUTPUT"):
        check_output(tmp_path / "study", source, overwrite=overwrite)
    check_output(tmp_path / "thin", source, overwrite=overwrite)
    check_output(tmp_path / "study" / "thin", source, overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == ["link", "study"]  # the check itself creates nothing


def test_an_output_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="file is not a folder"):
        check_output(tmp_path / "file" / "thin", None, overwrite=False)
    for place in ("/proc/self/thin", "/proc/thin", "/proc/thin/deeper"):  # also for root, whom permissions do not stop
        with pytest.raises(UsageError, match="no permission"):
            check_output(Path(place), None, overwrite=False)
    with pytest.raises(UsageError, match="root of the file system"):
        check_output(Path("/"), None, overwrite=True)


def test_a_very_long_name_can_be_published(tmp_path: Path) -> None:
    output = tmp_path / ("x" * 250)
    with staged_folder(output, overwrite=False) as stage:
        (stage / SLICE).write_bytes(b"new")
    assert content(output) == {SLICE: b"new"}
