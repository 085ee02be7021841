"""ZIP sources: read without extraction, and refused where they are hostile."""

from __future__ import annotations

import io
import stat
import tempfile
import zipfile

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu

from lamella.dicom import archive, list_series, read_series
from lamella.errors import RefusedInput

# SPEC A1, C6


@pytest.fixture
def members(tmp_path):
    build_series(tmp_path / "series", phantom_hu())
    return {f"study/{path.name}": path.read_bytes() for path in sorted((tmp_path / "series").iterdir())}


def pack(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_zip_reads_as_its_folder_does(tmp_path, members):
    path = pack(tmp_path / "study.zip", {**members, "study/readme.txt": b"hello"})
    volume = read_series(path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert volume.header.files[0] == "0000.dcm"
    assert "1 file is not DICOM, ignored: readme.txt" in volume.header.notes


def test_the_suffix_does_not_matter(tmp_path, members):
    assert len(list_series(pack(tmp_path / "study.dat", members))) == 1


def test_nothing_is_written_to_disk(tmp_path, members, monkeypatch):
    empty = tmp_path / "temporary"
    empty.mkdir(mode=0o500)
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    before = sorted(tmp_path.rglob("*"))
    path = pack(tmp_path / "study.zip", members)
    read_series(path)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


@pytest.mark.parametrize("name", ["../evil.dcm", "a/../../evil.dcm", "/etc/evil.dcm", "C:/evil.dcm", "..\\evil.dcm"])
def test_member_names_that_point_outside(tmp_path, members, name):
    path = pack(tmp_path / "study.zip", {**members, name: b"x"})
    with pytest.raises(RefusedInput, match=r"study.zip has a member that points out of the archive"):
        read_series(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files(tmp_path, members, kind):
    path = pack(tmp_path / "study.zip", members)
    link = zipfile.ZipInfo("study/link.dcm")
    link.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(RefusedInput, match=r"has a link or special file among its members: link.dcm"):
        read_series(path)


def test_encrypted(tmp_path, members):
    path = pack(tmp_path / "study.zip", members)
    data = bytearray(path.read_bytes())
    data[6] |= 1  # general purpose flag, bit 0, of the first local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of the table of contents
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=r"study.zip is encrypted \(member 0000.dcm\)"):
        read_series(path)


@pytest.mark.parametrize("name", ["inner.zip", "inner.dat"])
def test_nested(tmp_path, members, name):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("0000.dcm", b"x")
    path = pack(tmp_path / "study.zip", {**members, name: inner.getvalue()})
    with pytest.raises(RefusedInput, match=rf"holds another ZIP: {name}"):
        read_series(path)


def test_bomb_in_one_member(tmp_path, members):
    path = pack(tmp_path / "study.zip", {**members, "zeros.bin": bytes(20 * 2**20)})
    with pytest.raises(RefusedInput, match=r"ZIP bomb: member zeros.bin inflates from [\d,]+ to 20,971,520 bytes"):
        read_series(path)


def test_bomb_of_many_small_members(tmp_path, members):
    zeros = {f"{k}.bin": bytes(2**20) for k in range(24)}
    path = pack(tmp_path / "study.zip", {**members, **zeros})
    with pytest.raises(RefusedInput, match=r"ZIP bomb: [\d,]+ bytes inflate to [\d,]+, at most 100 times"):
        read_series(path)


def test_too_many_members(tmp_path, members, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 7)
    with pytest.raises(RefusedInput, match=r"too many members: 8, at most 7"):
        read_series(pack(tmp_path / "study.zip", members))


def test_too_many_bytes(tmp_path, members, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 10_000)
    with pytest.raises(RefusedInput, match=r"inflates to [\d,]+ bytes, at most 10,000"):
        read_series(pack(tmp_path / "study.zip", members))


def test_a_table_of_contents_that_lies_about_the_size(tmp_path, members):
    path = pack(tmp_path / "study.zip", {"a.dcm": members["study/0000.dcm"]})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=r"ZIP member a.dcm is damaged"):
        read_series(path)


def test_damaged_member(tmp_path, members):
    path = pack(tmp_path / "study.zip", members)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=r"ZIP member 000\d.dcm is damaged"):
        read_series(path)


def test_half_a_zip(tmp_path, members):
    path = pack(tmp_path / "study.zip", members)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(RefusedInput, match=r"ZIP study.zip is damaged: its table of contents cannot be read"):
        read_series(path)


def test_other_compression(tmp_path, members):
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("0000.dcm", members["study/0000.dcm"])
    with pytest.raises(RefusedInput, match=r"uses compression method 14"):
        read_series(path)


def test_a_zip_without_files(tmp_path):
    path = pack(tmp_path / "study.zip", {})
    with pytest.raises(RefusedInput, match=r"study.zip holds no files"):
        read_series(path)


def test_a_folder_that_holds_nothing_but_a_linked_one(tmp_path):
    build_series(tmp_path / "elsewhere", phantom_hu(2))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(RefusedInput, match=r"study holds no files.* give the folder that they lead to"):
        read_series(tmp_path / "study")


def test_links_in_a_folder(tmp_path):
    """A link to a file is a file; a linked folder could run in a circle and is noted instead."""
    build_series(tmp_path / "elsewhere", phantom_hu())
    folder = tmp_path / "study"
    folder.mkdir()
    for path in (tmp_path / "elsewhere").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    (folder / "broken").symlink_to(tmp_path / "nowhere")
    volume = read_series(folder)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert "1 linked folder was not followed" in volume.header.notes
    assert any("1 entry is not a regular file" in note for note in volume.header.notes)
