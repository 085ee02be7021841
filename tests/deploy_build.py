"""What `kubectl kustomize` makes of deploy/k8s, for tests: as much of kustomize as those folders use, and no more.

Where kubectl is installed a test compares the two.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parents[1] / "deploy" / "k8s"

Object = dict[str, Any]
"""A Kubernetes object, or a part of one."""

_MERGE_KEYS = ("name", "mountPath")
"""Lists whose items have one of these are merged item by item, others replaced."""

_USED = {"apiVersion", "kind", "namespace", "resources", "patches", "images"}


def kustomizations() -> list[Path]:
    """The folders that can be built."""
    return sorted(file.parent for file in K8S.rglob("kustomization.yaml"))


def objects_of(file: Path) -> list[Object]:
    """The objects in a YAML file."""
    return [item for item in yaml.safe_load_all(file.read_text(encoding="utf-8")) if item]


def build(folder: Path) -> list[Object]:
    """Every object of a folder, patched."""
    (plan,) = objects_of(folder / "kustomization.yaml")
    assert set(plan) <= _USED, f"{folder}: this builder does not know {set(plan) - _USED}"
    built: list[Object] = []
    for name in plan["resources"]:
        path = (folder / name).resolve()
        built += build(path) if path.is_dir() else objects_of(path)
    for item in built:
        if "namespace" in plan and item["kind"] != "Namespace":
            item["metadata"]["namespace"] = plan["namespace"]
    for patch in plan.get("patches", ()):
        built = [_patched(item, patch, folder) for item in built]
    for image in plan.get("images", ()):
        for container in (one for item in built for one in containers_of(item)):
            if container["image"].split(":")[0] == image["name"]:
                container["image"] = f"{image['name']}:{image['newTag']}"
    return built


def pod_of(item: Object) -> Object | None:
    """The pod's specification in an object, if it has one."""
    if item["kind"] == "Pod":
        return dict(item["spec"])
    pod: Object | None = item.get("spec", {}).get("template", {}).get("spec")
    return pod


def containers_of(item: Object) -> list[Object]:
    """The containers of an object's pod."""
    pod = pod_of(item) or {}
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def strings_of(value: Any) -> Iterator[str]:
    """Every text in nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings_of(one)


def _patched(item: Object, patch: Object, folder: Path) -> Object:
    target = patch["target"]
    if item["kind"] != target["kind"] or not re.fullmatch(target.get("name", ".*"), item["metadata"]["name"]):
        return item
    text = (folder / patch["path"]).read_text(encoding="utf-8") if "path" in patch else patch["patch"]
    change = yaml.safe_load(text)
    if isinstance(change, list):
        changed = copy.deepcopy(item)
        for step in change:
            _apply(changed, step)
        return changed
    change["metadata"].pop("name", None)
    return dict(_merged(item, change))


def _apply(item: Object, step: Object) -> None:
    """One step of RFC 6902 (JSON patch)."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].lstrip("/").split("/")]
    place: Any = item
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list):
        assert step["op"] == "add"
        assert last == "-"
        place.append(step["value"])
        return
    assert step["op"] in ("add", "replace", "remove")
    assert step["op"] == "add" or last in place, f"{step['path']}: nothing to {step['op']}"
    if step["op"] == "remove":
        del place[last]
    else:
        place[last] = step["value"]


def _merged(old: Any, new: Any) -> Any:
    """A strategic merge."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        key = next((key for key in _MERGE_KEYS if all(key in one for one in [*old, *new] if isinstance(one, dict))), "")
        if key and all(isinstance(one, dict) for one in [*old, *new]):
            key = "mountPath" if "mountPath" in (old + new)[0] else key
            late = {one[key]: one for one in new}
            kept = [_merged(one, late.pop(one[key])) if one[key] in late else one for one in old]
            return [*late.values(), *kept]
    return copy.deepcopy(new)
