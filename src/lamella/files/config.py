"""Settings from YAML: nested frozen dataclasses, `key=value` overrides, every value checked, nothing unknown accepted.

Settings live beside what they set, as dataclasses; this file only fills them. A key that no dataclass has is an error
that names the nearest one there is.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from lamella.errors import UsageError
from lamella.files.aliases import ALIASES
from lamella.files.atomic import staged_file

T = TypeVar("T")

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
"""YAML 1.1 takes 1e-4 for text, since it lacks the point."""


def load(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Fill a dataclass from a YAML file.

    Args:
        kind: a dataclass; its fields may be dataclasses, tuples and mappings of them, plain values, Literal or optional.
        path: YAML mapping.
        overrides: `key=value`, keys with dots ("mean.steps=100", "data.series.0.axial=0.5"), values in YAML.

    Raises:
        UsageError: no such file, not YAML, an unknown key, a missing or mistyped value; the message names the key.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The config {path} cannot be read ({type(error).__name__}). Expected a YAML file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"The config {path} is not YAML{where}.") from error
    return fill(kind, _overridden(values, overrides))


def changed(settings: T, overrides: Sequence[str]) -> T:
    """A copy of settings with some values replaced, as `load` replaces them."""
    return fill(type(settings), _overridden(plain(settings), overrides))


def _overridden(values: Any, overrides: Sequence[str]) -> Any:
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UsageError(f"An override must read key=value. Found {override!r}.")
        values = _with(values, key.split("."), _parsed(override, text), key)
    return values


def fill(kind: type[T], values: Any, key: str = "") -> T:
    """Fill a dataclass, and the dataclasses within it, from a mapping; keys of earlier versions are understood.

    Args:
        kind: as for `load`.
        values: nested mappings, lists and plain values.
        key: where they stand, for messages.

    Raises:
        UsageError: an unknown key, a missing or mistyped value.
    """
    filled: T = _filled(kind, values, key)
    return filled


def save(settings: Any, path: Path) -> None:
    """Write the resolved settings, every value included, as YAML that `load` reads back to an equal object."""
    with staged_file(path, overwrite=True) as file:
        file.write_text(yaml.safe_dump(plain(settings), sort_keys=False, width=110), encoding="utf-8")


def plain(value: Any) -> Any:
    """The same as mappings, lists and plain values."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _parsed(override: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"The value of {override!r} is not YAML.") from None


def _with(values: Any, path: list[str], value: Any, key: str) -> Any:
    """A copy of nested mappings and lists with one value replaced."""
    if not path:
        return value
    name, rest = path[0], path[1:]
    if isinstance(values, list):
        if not name.isdigit() or int(name) >= len(values):
            raise UsageError(
                f"{key}: {name!r} is no place in a list of {len(values)}. Expected 0 to {len(values) - 1}."
            )
        return [_with(item, rest, value, key) if index == int(name) else item for index, item in enumerate(values)]
    if not isinstance(values, dict | None):
        raise UsageError(f"{key}: there is nothing below {values!r}. Leave out what follows it.")
    return {**(values or {}), name: _with((values or {}).get(name), rest, value, key)}


def _filled(kind: Any, value: Any, key: str) -> Any:
    """`value` as a `kind`."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, key)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in inner:
            raise _mistyped(key, value, f"one of {', '.join(map(str, inner))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _filled(next(item for item in inner if item is not type(None)), value, key)
    if origin is tuple:
        return _tuple(inner, value, key)
    if origin is dict:
        if not isinstance(value, dict):
            raise _mistyped(key, value, "a mapping")
        return {name: _filled(inner[1], item, _below(key, str(name))) for name, item in value.items()}
    return _scalar(kind, value, key)


def _dataclass(kind: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise _mistyped(key, value, "a mapping")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    value = {
        ALIASES[name] if name not in fields and ALIASES.get(name) in fields else name: item
        for name, item in value.items()
    }
    for name in value:
        if name not in fields:
            near = get_close_matches(str(name), fields, n=1, cutoff=0.0)
            raise UsageError(f"Unknown key {_below(key, str(name))}. Nearest: {_below(key, near[0])}.")
    missing = [
        _below(key, name)
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"The config lacks {', '.join(missing)}.")
    return kind(**{name: _filled(hints[name], item, _below(key, name)) for name, item in value.items()})


def _tuple(inner: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _mistyped(key, value, "a list")
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
    if len(kinds) != len(value):
        raise UsageError(f"{key} must have {len(kinds)} values. Found {len(value)}.")
    return tuple(_filled(kind, item, f"{key}.{n}") for n, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _scalar(kind: Any, value: Any, key: str) -> Any:
    if kind is float and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is not Any and type(value) is not kind:  # bool is an int to isinstance, but no number of steps
        raise _mistyped(
            key, value, {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(kind, "")
        )
    return value


def _mistyped(key: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"{key or 'The config'} must be {expected}. Found {value!r}.")


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
