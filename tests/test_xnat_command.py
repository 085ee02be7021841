"""deploy/xnat/command.json: the command that XNAT would run is one that there is, and every name in it leads somewhere."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from lamella import __version__
from lamella.cli.app import command

FILE = Path(__file__).parents[1] / "deploy" / "xnat" / "command.json"


def test_the_command_is_one_that_there_is() -> None:
    found = json.loads(FILE.read_text(encoding="utf-8"))
    line = found["command-line"]
    for one in found["inputs"]:
        assert line.count(one["replacement-key"]) == 1
        flag, separator = one["command-line-flag"], one["command-line-separator"]
        line = line.replace(one["replacement-key"], f"{flag}{separator}{one['default-value']}")
    assert "#" not in line
    program, verb, *words = shlex.split(line)
    context = command().commands[verb].make_context(verb, words)
    assert (program, verb, context.params["spacing_mm"], context.params["mode"]) == ("lamella", "thin", 1.0, "mean")
    mounts = {one["path"]: one["writable"] for one in found["mounts"]}
    assert {path: mounts[path] for path in re.findall(r"/(?:input|output)\b", line)} == {
        "/input": False,
        "/output": True,
    }
    assert found["version"] == __version__
    assert found["image"].endswith(f":{__version__}")


def test_every_name_leads_somewhere() -> None:
    found = json.loads(FILE.read_text(encoding="utf-8"))
    mounts, outputs = ({one["name"] for one in found[key]} for key in ("mounts", "outputs"))
    assert {one["mount"] for one in found["outputs"]} <= mounts
    for wrapper in found["xnat"]:
        given = {one["name"] for one in wrapper["external-inputs"]}
        assert {one["derived-from-wrapper-input"] for one in wrapper["derived-inputs"]} <= given
        assert {one["provides-files-for-command-mount"] for one in wrapper["derived-inputs"]} <= mounts
        assert {one["accepts-command-output"] for one in wrapper["output-handlers"]} == outputs
        assert {one["as-a-child-of"] for one in wrapper["output-handlers"]} <= given
