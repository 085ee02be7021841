"""Container and cluster: schemas, hardening, and that every command in the manifests is one that there is."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lamella import __version__
from lamella.cli.app import command
from lamella.files.config import load, plain
from tests.deploy_build import K8S, Object, build, containers_of, kustomizations, objects_of, pod_of, strings_of
from tests.test_image import user_of_the_image

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "how-to" / "cluster.md"
OLDEST, NEWEST = "1.33", "1.37"
APP = Path("/app")

BUILDS = {str(folder.relative_to(K8S)): build(folder) for folder in kustomizations()}
EVERY = [
    pytest.param(item, id=f"{name}-{item['kind']}-{item['metadata']['name']}")
    for name, items in BUILDS.items()
    for item in items
]
PODS = [one for one in EVERY if pod_of(one.values[0])]
JOBS = [one for one in EVERY if one.values[0]["kind"] == "Job"]
MANIFESTS = [file for file in sorted(K8S.rglob("*.yaml")) if file.name != "kustomization.yaml"]


def named(build_name: str, kind: str, name: str) -> Object:
    return next(one for one in BUILDS[build_name] if (one["kind"], one["metadata"]["name"]) == (kind, name))


def lamella_words(container: Object) -> list[str]:
    """The words after `lamella` of a container's command; none for a container that only sleeps."""
    words = [*container.get("command", ["lamella"]), *container.get("args", [])]
    if words[0] == "sleep":
        return []
    assert words[0] in ("lamella", "torchrun"), words
    return words[words.index("lamella") + 1 :]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("item", EVERY)
def test_what_is_applied_fits_the_schema(item: Object, version: str) -> None:  # SPEC A23
    assert kubernetes_validate.validate(item, version, strict=True) == version


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: str(file.relative_to(K8S)))
def test_every_manifest_fits_the_schema(file: Path) -> None:  # SPEC A23
    for item in objects_of(file):
        kubernetes_validate.validate(item, NEWEST, strict=True)


def misspelt_key(job: Object) -> None:
    security = job["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    security["readOnlyRootFileSystem"] = security.pop("readOnlyRootFilesystem")


def text_for_a_number(job: Object) -> None:
    job["spec"]["backoffLimitPerIndex"] = "3"


def key_one_level_too_high(job: Object) -> None:
    job["spec"]["restartPolicy"] = "Never"


@pytest.mark.parametrize("damage", [misspelt_key, text_for_a_number, key_one_level_too_high])
def test_the_schema_check_sees_mistakes(damage: Callable[[Object], None]) -> None:
    job = copy.deepcopy(named("base", "Job", "prepare"))
    damage(job)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, NEWEST, strict=True)


@pytest.mark.parametrize("folder", kustomizations(), ids=lambda folder: str(folder.relative_to(K8S)))
def test_kustomization_lists_every_file(folder: Path) -> None:
    (plan,) = objects_of(folder / "kustomization.yaml")
    listed = {*plan["resources"], *(patch["path"] for patch in plan.get("patches", ()) if "path" in patch)}
    files = {file.name for file in folder.iterdir() if file.is_file()} - {"kustomization.yaml"}
    assert {name for name in listed if not name.startswith("..")} == files


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("name", BUILDS)
def test_kubectl_builds_the_same(name: str) -> None:
    quiet = {**os.environ, "KUBECONFIG": os.devnull}
    words = ["kubectl", "kustomize", str(K8S / name)]
    text = subprocess.run(words, env=quiet, capture_output=True, text=True, timeout=60, check=True).stdout
    theirs, ours = (
        {(one["kind"], one["metadata"]["name"]): one for one in items}
        for items in (yaml.safe_load_all(text), BUILDS[name])
    )
    assert theirs == ours


@pytest.mark.parametrize("item", PODS)
def test_pods_are_hardened(item: Object) -> None:  # SPEC A23
    pod = pod_of(item)
    assert pod is not None
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == int(user_of_the_image().split(":")[0]) > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"emptyDir", "persistentVolumeClaim"}
    for container in containers_of(item):
        inner = container["securityContext"]
        assert inner["allowPrivilegeEscalation"] is False
        assert inner["readOnlyRootFilesystem"] is True
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert container["image"] in (f"lamella:{__version__}", f"lamella:{__version__}-cpu")
        assert {"cpu", "memory"} <= set(container["resources"]["limits"]) & set(container["resources"]["requests"])


def test_tensorboard_can_run_in_the_transfer_pod() -> None:
    (container,) = containers_of(named("transfer", "Pod", "transfer"))
    assert "/tmp" in str(container["volumeMounts"])


@pytest.mark.parametrize("item", JOBS)
def test_threads_are_those_of_the_pod(item: Object) -> None:
    threads = {one["name"]: one.get("valueFrom") for container in containers_of(item) for one in container["env"]}
    assert threads["OMP_NUM_THREADS"] == {"resourceFieldRef": {"resource": "limits.cpu"}}


@pytest.mark.parametrize("item", JOBS)
def test_scans_are_mounted_read_only(item: Object) -> None:
    mounts = {one["mountPath"]: one for container in containers_of(item) for one in container["volumeMounts"]}
    assert {"/tmp", "/dev/shm"} < set(mounts)
    assert mounts.get("/app/data", {"readOnly": True})["readOnly"] is True
    pod = pod_of(item)
    assert pod is not None
    claims = {one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
    assert claims <= {one["metadata"]["name"] for one in BUILDS["base"] if one["kind"] == "PersistentVolumeClaim"}


def test_nothing_comes_in_or_goes_out_but_between_ranks() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in BUILDS["base"] if one["kind"] == "NetworkPolicy"}
    assert policies.pop("nothing-in-or-out") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ranks = policies.pop("train-diffusion-ranks")
    assert policies == {}
    peers, dns = ranks["egress"]
    assert ranks["ingress"] == [{"from": peers["to"]}]
    assert peers == {"to": [{"podSelector": ranks["podSelector"]}]}
    assert {one["port"] for one in dns["ports"]} == {53}
    assert "ipBlock" not in str(policies)


@pytest.mark.parametrize("item", JOBS)
def test_a_failed_pod_is_tried_again_unless_that_is_useless(item: Object) -> None:  # SPEC A18, A23
    job = item["spec"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # the API server refuses podFailurePolicy with any other
    assert job["suspend"] is True
    first, *_, last = rules = job["podFailurePolicy"]["rules"]
    assert (first["action"], {2, 3} <= set(first["onExitCodes"]["values"])) == ("FailJob", True)
    if item["metadata"]["name"] == "prepare":  # 8: some sources failed
        assert all(8 not in one.get("onExitCodes", {}).get("values", []) for one in rules)
    assert last["action"] == "Ignore"
    assert last["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert job.get("backoffLimit", job.get("backoffLimitPerIndex", 0)) > 0


@pytest.mark.parametrize("item", JOBS)
def test_the_command_is_one_that_there_is(item: Object) -> None:  # SPEC A23
    (container,) = containers_of(item)
    verb, *words = lamella_words(container)
    verbs = command().commands
    assert verb in verbs
    verbs[verb].make_context(verb, [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in words])


@pytest.mark.parametrize("item", JOBS)
def test_paths_of_the_command_lie_on_volumes(item: Object) -> None:
    (container,) = containers_of(item)
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    words = " ".join(lamella_words(container)[1:])
    for path in map(Path, re.findall(r"(?<=[\s=])(?:[\w.-]+/)+[\w.-]+", f" {words}")):
        if path.parts[0] == "configs":
            assert (ROOT / path).is_file(), path
        else:
            assert str(APP / path.parts[0]) in mounts, path


class Loaded(Exception):
    """Stops a verb once its settings are read."""


@pytest.mark.parametrize("item", [one for one in JOBS if "configs/" in str(one.values[0])])
def test_the_config_loads_with_its_overrides(item: Object, monkeypatch: pytest.MonkeyPatch) -> None:  # SPEC A23, A24
    def stop(kind: Any, path: Path, overrides: Any = ()) -> None:
        raise Loaded(load(kind, path, overrides))

    (container,) = containers_of(item)
    words = [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in lamella_words(container)]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("lamella.files.config.load", stop)
    with pytest.raises(Loaded) as seen:
        command().main(words, standalone_mode=False)
    outside = [text for text in strings_of(plain(seen.value.args[0])) if text.startswith(("../", "/"))]
    assert outside == [], "not on a volume"


def test_shares_and_nodes_agree() -> None:
    for items in BUILDS.values():
        for job in (one for one in items if one["kind"] == "Job"):
            words, spec = containers_of(job)[0].get("args", []), job["spec"]
            for word in words:
                name, _, value = word.partition("=")
                if name in ("shares", "--nnodes", "fit.nodes"):
                    assert spec["completionMode"] == "Indexed"
                    assert spec["completions"] == int(value), (job["metadata"]["name"], word)
                    if name != "shares":
                        assert spec["parallelism"] == int(value)


def test_ranks_find_each_other() -> None:
    from torch.distributed.run import get_args_parser

    job, service = named("base", "Job", "train-diffusion"), named("base", "Service", "train-diffusion")
    pod = pod_of(job)
    assert pod is not None
    words = [word.replace("$(JOB_COMPLETION_INDEX)", "1") for word in pod["containers"][0]["args"]]
    asked = get_args_parser().parse_args(words)
    assert (asked.node_rank, asked.nproc_per_node, asked.module, asked.training_script) == (1, "1", True, "lamella")
    assert asked.master_addr == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ports"][0]["port"] == asked.master_port
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}


def test_only_networks_ask_for_a_gpu() -> None:
    asked = {
        job["metadata"]["name"]: containers_of(job)[0]["resources"]["limits"].get("nvidia.com/gpu")
        for job in BUILDS["overlays/a100"]
        if job["kind"] == "Job"
    }
    networks = dict.fromkeys(("train-vae", "train-diffusion", "evaluate", "thin", "batch"), "1")
    assert asked == networks | dict.fromkeys(("prepare", "visualise"))
    assert not any("nvidia" in text for one in BUILDS["base"] for text in strings_of(one))


def test_the_guide_wakes_every_job() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    jobs: set[Any] = {job["metadata"]["name"] for job in BUILDS["base"] if job["kind"] == "Job"}
    assert {name for name in jobs if not re.search(rf"wake {name}\b", text)} == set()
    folders: set[Any] = set(re.findall(r"deploy/k8s/[\w/-]+", text))
    assert [folder for folder in folders if not (ROOT / folder).exists()] == []
