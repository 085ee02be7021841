"""Batches on clusters: an indexed job, a Ray cluster and a script of Slurm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from lamella.batch.parts import part_of
from lamella.cli.app import command
from tests.deploy_build import containers_of, objects_of
from tests.test_deploy import BUILDS, NEWEST, ROOT
from tests.test_image import user_of_the_image


def test_the_parts_of_a_batch_know_how_many_they_are() -> None:
    for items in BUILDS.values():
        for job in (one for one in items if one["metadata"]["name"] == "batch" and one["kind"] == "Job"):
            environment = {one["name"]: one.get("value", "") for one in containers_of(job)[0]["env"]}
            part = part_of(None, {**environment, "JOB_COMPLETION_INDEX": "0"})
            assert str(part) == f"1/{job['spec']['completions']}"
            assert job["spec"]["completionMode"] == "Indexed"
            actions = {rule["action"]: rule for rule in job["spec"]["podFailurePolicy"]["rules"]}
            assert actions["FailIndex"]["onExitCodes"]["values"] == [8]  # done but for refused series: no second try


def test_the_pods_of_the_ray_cluster_are_hardened_and_fit_the_schema() -> None:
    job, policy = objects_of(ROOT / "deploy" / "ray" / "rayjob.yaml")
    kubernetes_validate.validate(policy, NEWEST, strict=True)
    spec = job["spec"]["rayClusterSpec"]
    templates = [spec["headGroupSpec"]["template"], *(one["template"] for one in spec["workerGroupSpecs"])]
    for template in templates:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x", **template["metadata"]},
            "spec": template["spec"],
        }
        kubernetes_validate.validate(pod, NEWEST, strict=True)
        assert template["metadata"]["labels"] == policy["spec"]["podSelector"]["matchLabels"]
        assert template["spec"]["securityContext"]["runAsUser"] == int(user_of_the_image().split(":")[0])
        (container,) = template["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
    words = job["spec"]["entrypoint"].split()
    assert words[0] == "lamella"
    context = command().commands["batch"].commands["run"].make_context("run", words[2:])
    assert context.params["workers"] == sum(one["replicas"] for one in spec["workerGroupSpecs"])
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"ray=={spec['rayVersion']}\n" in pins


@pytest.mark.parametrize("name", [".ci/run", "deploy/slurm/batch.sbatch"])
def test_shell_scripts_have_no_known_fault(name: str) -> None:
    checker = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run([checker, ROOT / name], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout


def test_the_script_of_slurm_runs_its_part(tmp_path: Path) -> None:
    (tmp_path / "lamella").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS" "$@"\n')
    (tmp_path / "lamella").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CPUS_PER_TASK": "6"}
    script = ROOT / "deploy" / "slurm" / "batch.sbatch"
    told = subprocess.run(["bash", script, "in", "out"], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "6 batch in out\n"
