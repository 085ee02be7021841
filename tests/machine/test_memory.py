"""What a container may use counts, not what its machine has."""

import platform
from pathlib import Path

import psutil

from lamella.machine.memory import available_bytes, give_back_memory, peak_rss_bytes


def written(folder: Path, **content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_container_has_its_limit(tmp_path: Path) -> None:  # SPEC A16
    stat = "anon 5\ninactive_file 1000\n"
    root = written(tmp_path, memory__max="1000000\n", memory__current="400000\n", memory__stat=stat)
    assert available_bytes(root) == 601000
    written(tmp_path, memory__current="2000000\n")
    assert available_bytes(root) == 0


def test_version_1_of_control_groups(tmp_path: Path) -> None:
    written(
        tmp_path / "memory",
        memory__limit_in_bytes="500000",
        memory__usage_in_bytes="100000",
        memory__stat="total_inactive_file 50\n",
    )
    assert available_bytes(tmp_path) == 400050


def test_no_limit_is_the_machine(tmp_path: Path) -> None:
    written(tmp_path, memory__max="max\n", memory__current="400000\n", memory__stat="inactive_file 0\n")
    for root in (tmp_path, tmp_path / "nowhere"):
        assert 0.5 < available_bytes(root) / psutil.virtual_memory().available < 2


def test_the_peak_is_no_less_than_what_is_used() -> None:
    assert peak_rss_bytes() >= 0.9 * psutil.Process().memory_info().rss


def test_freed_memory_goes_back_to_the_system() -> None:
    process = psutil.Process()
    held = [bytearray(50_000) for _ in range(4000)]  # below the size that the C library maps by itself
    last = bytearray(50_000)  # above them: without it the top of the heap would be given back at once
    del held
    before = process.memory_info().rss
    give_back_memory()
    after = process.memory_info().rss
    assert after <= before - (150e6 if platform.libc_ver()[0] == "glibc" else 0)
    assert len(last) == 50_000
