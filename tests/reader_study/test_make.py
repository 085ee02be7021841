"""`make_study`: what is written, what is refused, and that no page knows a method."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reader_study.studies import METHODS, answers_of, choose, write_case, write_studies

from lamella.cli import reader as verb
from lamella.errors import LamellaError, RefusedInput, UsageError
from lamella.nifti.image import read_nifti
from lamella.reader_study.answers import read_answers
from lamella.reader_study.key import read_key
from lamella.reader_study.make import Made, Request, make_study
from lamella.reader_study.page import equally_long


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_studies(tmp_path_factory.mktemp("reader") / "studies")


@pytest.fixture(scope="module")
def made(studies: Path) -> Made:
    return make(studies, studies.parent / "out", readers=2, seed=3)


def make(studies: Path, out: Path, **changes: Any) -> Made:
    return make_study(Request(studies, out, **changes), lambda stage, fraction: None)


def page_of(made: Made, reader: str = "R1") -> str:
    return (made.request.out / "pages" / f"session-{reader}.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script[^>]*id="page-data"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def blocks_of(page: str) -> dict[str, bytes]:
    found = re.findall(r'<script[^>]*id="(v[0-9a-f]{7})"[^>]*>([^<]*)</script>', page)
    return {name: base64.b64decode(text) for name, text in found}


def test_layout(made: Made) -> None:
    out = made.request.out
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        "key/README.txt",
        "key/key.json",
        "pages/session-R1.html",
        "pages/session-R2.html",
    ]
    assert "Keep it from the readers" in (out / "key" / "README.txt").read_text()
    assert read_key(out / "key" / "key.json") == made.key
    assert made.page_bytes == tuple((out / "pages" / f"session-R{n}.html").stat().st_size for n in (1, 2))
    assert any("keep it from the readers" in line for line in made.lines())


def test_nothing_that_names_a_method_is_anywhere_in_a_page(tmp_path: Path) -> None:
    """Names that no program text holds, looked for in the whole file and in every unpacked volume."""
    for case in ("qzcase-1", "qzcase-2"):
        write_case(tmp_path / "qzstudies" / case, ("qzalpha", "qzbeta", "qzgamma"))
    made = make(tmp_path / "qzstudies", tmp_path / "out")
    page = page_of(made)
    assert "qz" not in re.sub(r'<script type="text/plain"[^>]*>[^<]*</script>', "", page)
    assert len(blocks_of(page)) == 6
    for block in blocks_of(page).values():
        assert b"qz" not in gzip.decompress(block)[:352]
        assert all(word not in block for word in (b"qzalpha", b"qzbeta", b"qzgamma", b"qzcase"))


def test_the_page_asks_what_the_key_says(made: Made) -> None:
    for session in made.key.sessions:
        data = data_of(page_of(made, session.reader))
        assert (data["study"], data["reader"]) == (made.key.study, session.reader)
        assert set(data) == {
            "study",
            "reader",
            "lamella",
            "preference",
            "questions",
            "anchors",
            "windows",
            "items",
            "notice",
        }
        assert [item["id"] for item in data["items"]] == [item.id for item in session.items]
        for shown, item in zip(data["items"], session.items, strict=True):
            assert shown["kind"] == item.kind
            assert shown["volumes"] == [session.volumes[item.case, method] for method in item.methods]
            assert set(shown) == {"id", "kind", "volumes", "note"}


def test_volumes_lie_in_the_order_of_their_random_names(made: Made) -> None:
    page = page_of(made)
    assert list(blocks_of(page)) == sorted(blocks_of(page))


def test_size_and_header_do_not_tell_the_method(made: Made) -> None:
    session = made.key.sessions[0]
    blocks = blocks_of(page_of(made))
    for case in made.key.design.cases:
        names = [session.volumes[case, method] for method in METHODS]
        assert len({len(blocks[name]) for name in names}) == 1
        assert len({gzip.decompress(blocks[name])[:352] for name in names}) == 1


def test_embedded_voxels_are_the_methods(made: Made, studies: Path, tmp_path: Path) -> None:
    session = made.key.sessions[1]
    blocks = blocks_of(page_of(made, "R2"))
    for (case, method), name in session.volumes.items():
        file = tmp_path / "block.nii.gz"
        file.write_bytes(blocks[name])
        shown, source = read_nifti(file), read_nifti(studies / case / f"{method}.nii.gz")
        start = np.rint(np.linalg.solve(source.geometry.affine, shown.geometry.affine[:, 3])[:3]).astype(int)
        part = source.hu[tuple(slice(a, a + n) for a, n in zip(start, shown.hu.shape, strict=True))]
        assert np.abs(shown.hu.astype(float) - part).max() <= 1.0


def test_the_same_study_again_is_the_same(made: Made, studies: Path, tmp_path: Path) -> None:
    again = make(studies, tmp_path / "out", readers=2, seed=3)
    assert again.key == made.key
    assert page_of(again) == page_of(made)
    assert page_of(made, "R1") != page_of(made, "R2")


def test_other_voxels_are_another_study(made: Made, studies: Path, tmp_path: Path) -> None:
    shutil.copytree(studies, tmp_path / "studies")
    shutil.rmtree(tmp_path / "studies" / "case-02")
    write_case(tmp_path / "studies" / "case-02", seed=99)
    other = make(tmp_path / "studies", tmp_path / "out", readers=2, seed=3)
    assert other.key.design == made.key.design
    assert other.key.study != made.key.study


def test_a_key_elsewhere(studies: Path, tmp_path: Path) -> None:
    key = tmp_path / "safe" / "key.json"
    made = make(studies, tmp_path / "out", key=key)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pages"]
    assert read_key(key) == made.key


def test_equally_long_blocks_unpack_to_the_same() -> None:
    texts = {"a": b"x" * 5000, "b": np.random.default_rng(0).bytes(900), "c": b""}
    blocks = {name: base64.b64encode(gzip.compress(text, mtime=0)).decode() for name, text in texts.items()}
    filled = equally_long(blocks)
    assert len({len(block) for block in filled.values()}) == 1
    assert {name: gzip.decompress(base64.b64decode(block)) for name, block in filled.items()} == texts


def test_overwrite_replaces_a_study_and_nothing_else(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(studies, out, readers=2)
    with pytest.raises(UsageError, match=r"OUTPUT exists"):
        make(studies, out)
    make(studies, out, readers=1, overwrite=True)
    assert [path.name for path in (out / "pages").iterdir()] == ["session-R1.html"]
    answers = out / "pages" / "answers-R1.json"
    answers.write_text("{}")
    with pytest.raises(UsageError, match=r"no result of Lamella.*answers-R1\.json"):
        make(studies, out, overwrite=True)
    assert answers.is_file()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pairs": ("cubic:best",)}, UsageError, r"No such pair"),
        ({"pairs": ("cubic:mean",), "kind": "likert"}, UsageError, r"--pairs is for comparisons"),
        ({"questions": ("Noise",), "kind": "preference"}, UsageError, r"--question is for ratings"),
        ({"preference": "Which?", "kind": "likert"}, UsageError, r"--preference-question is for comparisons"),
        ({"slab": "wide"}, UsageError, r"--slab-mm is not understood"),
        ({"key": Path("key.txt")}, UsageError, r"--key is a \.json file"),
    ],
)
def test_requests_refused(
    studies: Path, tmp_path: Path, changes: dict[str, Any], error: type[LamellaError], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(studies, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_places_refused(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--key lies inside OUT"):
        make(studies, tmp_path / "out", key=tmp_path / "out" / "key.json")
    with pytest.raises(UsageError, match=r"OUTPUT lies inside SOURCE"):
        make(studies, studies / "out")


def test_a_refused_case_leaves_nothing(studies: Path, tmp_path: Path) -> None:
    shutil.copytree(studies, tmp_path / "studies")
    shutil.rmtree(tmp_path / "studies" / "case-03")
    write_case(tmp_path / "studies" / "case-03")
    (tmp_path / "studies" / "case-03" / "mean.nii.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(RefusedInput, match=r"^case-03/mean\.nii\.gz"):
        make(tmp_path / "studies", tmp_path / "out", key=tmp_path / "key.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["studies"]


def test_equal_voxels_and_unused_methods_are_said(studies: Path, tmp_path: Path) -> None:
    shutil.copytree(studies, tmp_path / "studies")
    case = tmp_path / "studies" / "case-01"
    shutil.copy(case / "cubic.nii.gz", case / "mean.nii.gz")
    made = make(tmp_path / "studies", tmp_path / "out", kind="preference", pairs=("cubic:mean",))
    assert "case-01: cubic and mean hold the same voxels" in made.notes
    assert "not asked about: real-thin" in made.notes


def test_a_small_page_is_coarser_in_hu_for_every_case_and_method(made: Made, studies: Path, tmp_path: Path) -> None:
    whole = sum(map(len, blocks_of(page_of(made)).values())) * 4 // 3
    small = make(studies, tmp_path / "out", readers=2, seed=3, budget_bytes=int(0.9 * whole))
    blocks = blocks_of(page_of(small))
    slopes = {float(np.frombuffer(gzip.decompress(block)[112:116], "<f4")[0]) for block in blocks.values()}
    assert len(slopes) == 1
    assert slopes <= {2.0, 4.0}
    assert sum(map(len, blocks.values())) * 4 // 3 < 0.95 * whole
    assert {item["note"] for item in data_of(page_of(small))["items"]} == set(small.notes)
    assert "in steps of" in small.notes[0]
    assert small.key == made.key


def test_pixels_are_never_averaged(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(LamellaError, match=r"images of case-01 fit 0\.0 MB only with their pixels averaged.*--slab-mm"):
        make(studies, tmp_path / "out", budget_bytes=3 * 12_000)
    assert not (tmp_path / "out").exists()


def test_a_slab_makes_the_page_smaller(made: Made, studies: Path, tmp_path: Path) -> None:
    small = make(studies, tmp_path / "out", slab="2", readers=2, seed=3)
    assert max(map(len, blocks_of(page_of(small)).values())) < min(map(len, blocks_of(page_of(made)).values()))
    assert small.key.study != made.key.study


def test_the_verbs(studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # SPEC A26
    out = tmp_path / "out"
    verb.make(studies, out, readers=2)
    said = capsys.readouterr().out
    assert "3 cases, 3 methods (cubic, mean, real-thin)" in said
    key = read_key(out / "key" / "key.json")
    files = []
    for reader in ("R1", "R2"):
        files.append(tmp_path / f"answers-{reader}.json")
        files[-1].write_text(json.dumps(answers_of(key, reader, lambda item: choose(item, "mean"))))
    assert [one.missing for one in read_answers(files, key)] == [0, 0]
    verb.score(out / "key" / "key.json", files, json_file=tmp_path / "score.json")
    assert "mean in 100 %" in capsys.readouterr().out
    assert json.loads((tmp_path / "score.json").read_text())["study"] == key.study
    with pytest.raises(UsageError, match=r"OUTPUT exists"):
        verb.score(out / "key" / "key.json", files, json_file=tmp_path / "score.json")
    with pytest.raises(UsageError, match=r"--json writes a \.json file"):
        verb.score(out / "key" / "key.json", files, json_file=tmp_path / "score.txt")
    verb.score(out / "key" / "key.json", files, quiet=True)
    assert capsys.readouterr().out == ""
