"""Imports go one way: a room may import only rooms of a lower rank, or itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lamella

PACKAGE = Path(lamella.__file__).parent
CONTRIBUTING = PACKAGE.parents[1] / "CONTRIBUTING.md"

RANKS = (
    ("__version__", "errors"),
    ("volume", "window", "machine"),
    ("files", "physics", "diffusion"),
    ("networks", "dicom", "nifti", "metrics"),
    ("codecs", "sources", "phantom", "results"),
    ("data", "thinning", "selection"),
    ("embedded", "latent_diffusion"),
    ("models",),
    ("train", "evaluate", "report"),
    ("workflow", "reader_study"),
    ("batch",),
    ("node",),
    ("api",),
    ("cli",),
)
"""Rooms by rank; CONTRIBUTING shows the same table."""

RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
SAME_ROOM = {"__main__": "cli", "__init__": "__version__"}
"""The package's two files that every package has."""

FILES_AT_ROOT = 7

HEAVY = {"torch", "scipy", "matplotlib", "lightning", "safetensors"}
"""Packages that cost seconds to import."""


def room_of(module: str) -> str:
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "__init__"
    return SAME_ROOM.get(name, name)


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imports_of(file: Path, *, at_start_only: bool) -> Iterator[tuple[str, int]]:
    """(module, line) of everything a file imports; `at_start_only` leaves out functions and TYPE_CHECKING blocks."""
    stack: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute here"
            for alias in node.names:  # `from lamella.dicom import read` imports a module too
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in MODULES else str(node.module)), node.lineno
        if at_start_only and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        ):
            continue
        stack.extend(ast.iter_child_nodes(node))


def breaches(modules: dict[str, Path]) -> list[str]:
    """Imports of a higher or equal rank, and rooms without a rank."""
    found = []
    for module, file in modules.items():
        room = room_of(module)
        if room not in RANK:
            found.append(f"{file.name}: room {room!r} has no rank. Give it one in tests/test_imports.py.")
            continue
        for target, line in imports_of(file, at_start_only=False):
            if target != "lamella" and not target.startswith("lamella."):
                continue
            other = room_of(target)
            lower = RANK.get(other, len(RANKS)) < RANK[room]
            # The package's own face may reach for the doors when they are asked for.
            if other != room and not lower and module != "lamella":
                found.append(
                    f"{module}:{line} imports {target}: rank {RANK[room]} must not know rank {RANK.get(other)}"
                )
    return found


def circles(modules: dict[str, Path]) -> list[set[str]]:
    """Groups of modules that import each other, directly or by others, at their head or inside functions."""
    graph = {
        module: {
            target for target, _ in imports_of(file, at_start_only=False) if target in modules and target != module
        }
        for module, file in modules.items()
        if module != "lamella"  # the package's own face may reach for the doors when they are asked for
    }
    order = TopologicalSorter({module: targets - {"lamella"} for module, targets in graph.items()})
    try:
        order.prepare()
    except CycleError as error:
        return [set(error.args[1])]
    return []


def test_rooms_import_only_lower_ranks() -> None:
    assert breaches(MODULES) == []


def test_no_modules_import_each_other() -> None:
    assert circles(MODULES) == []


def test_a_circle_inside_a_function_is_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("from lamella.other import b\n")
    other.write_text("def late() -> None:\n    from lamella.one import a\n")
    assert circles({"lamella.one": one, "lamella.other": other}) == [{"lamella.one", "lamella.other"}]


def test_the_root_of_the_package_is_small() -> None:
    files = [file.name for file in PACKAGE.iterdir() if file.is_file()]
    assert len(files) <= FILES_AT_ROOT, files


def test_a_breach_is_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def late() -> None:\n    from lamella.train import train_embedded\n")
    assert breaches({"lamella.volume": bad}) == [
        "lamella.volume:2 imports lamella.train: rank 1 must not know rank 8",
    ]
    assert "no rank" in breaches({"lamella.helpers": bad})[0]


NOT_EVERYWHERE = {"fcntl", "resource", "pwd", "grp", "msvcrt", "winreg", "termios", "tty", "pty", "syslog"}
"""Modules of the standard library that one system has and another lacks."""


def unguarded(node: ast.AST, guarded: bool = False) -> Iterator[str]:
    """Imports of such modules that stand in neither a branch on `sys.platform` nor a `try` that expects ImportError."""
    if isinstance(node, ast.If):
        guarded = guarded or "sys.platform" in ast.unparse(node.test)
    if isinstance(node, ast.Try):
        caught = " ".join(ast.unparse(one.type) for one in node.handlers if one.type is not None)
        guarded = guarded or "ImportError" in caught or "ModuleNotFoundError" in caught
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
    if not guarded:
        yield from (f"line {node.lineno}: {name}" for name in names if name in NOT_EVERYWHERE)  # type: ignore[attr-defined]
    for child in ast.iter_child_nodes(node):
        yield from unguarded(child, guarded)


@pytest.mark.parametrize("module", MODULES)
def test_what_only_some_systems_have_is_guarded(module: str) -> None:
    assert list(unguarded(ast.parse(MODULES[module].read_text(encoding="utf-8")))) == []


def test_an_unguarded_import_is_found() -> None:
    late = "def f():\n    import sys\n    if x:\n        import fcntl\n        from resource import getrusage\n"
    assert list(unguarded(ast.parse(late))) == ["line 4: fcntl", "line 5: resource"]
    assert list(unguarded(ast.parse("if sys.platform != 'win32':\n    import pwd\n"))) == []
    assert list(unguarded(ast.parse("try:\n    import grp\nexcept ImportError:\n    grp = None\n"))) == []


def test_no_drawers() -> None:
    drawers = {"utils", "helpers", "common", "misc"}
    assert [module for module in MODULES if drawers & set(module.split("."))] == []


def test_the_package_itself_imports_no_room_at_start() -> None:
    at_start = [target for target, _ in imports_of(MODULES["lamella"], at_start_only=True)]
    assert [target for target in at_start if target.startswith("lamella") or target.split(".")[0] in HEAVY] == []


def loaded_by(start: str) -> set[str]:
    """Top-level names of foreign packages that importing `start` imports, by following our own module-level imports."""
    todo, seen, foreign = [start], set(), set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for target, _ in imports_of(MODULES[module], at_start_only=True):
            if target.split(".")[0] == "lamella":
                parts = target.split(".")
                todo += [name for name in (".".join(parts[:n]) for n in range(1, len(parts) + 1)) if name in MODULES]
            else:
                foreign.add(target.split(".")[0])
    return foreign


@pytest.mark.parametrize(
    ("start", "forbidden"),
    [
        ("lamella.cli.app", HEAVY | {"numpy", "pydicom", "nibabel", "yaml", "psutil", "pydantic", "rich"}),
        ("lamella.sources.source", HEAVY - {"scipy"} | {"rich"}),
        ("lamella.files.atomic", HEAVY | {"numpy"}),
        ("lamella.node.serve", {"torch", "matplotlib"}),  # only its worker computes
        ("lamella.batch.run", {"torch", "matplotlib"}),
    ],
)
def test_light_doors_stay_light(start: str, forbidden: set[str]) -> None:
    assert loaded_by(start) & forbidden == set()


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["--help"], ("torch", "numpy", "pydicom")),
        (["thin", "--help"], ("torch", "numpy", "pydicom")),
        (["inspect", "no-such-source"], ("torch",)),
        (["thin", "no-such-source", "out"], ("torch",)),
    ],
)
def test_verbs_load_nothing_heavy(arguments: list[str], forbidden: tuple[str, ...]) -> None:
    code = (
        "import sys; from lamella.cli import main\n"
        f"main({arguments!r})\n"
        f"found = [name for name in {forbidden!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_contributing_shows_these_ranks() -> None:
    rows = [line for line in CONTRIBUTING.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for rank, rooms in enumerate(RANKS):
        shown = {
            name for row in rows if row.startswith(f"| {rank} |") for name in re.findall(r"`(\w+)`", row.split("|")[2])
        }
        assert shown == set(rooms), f"rank {rank} in CONTRIBUTING"
