"""The manifest for KubeRay: its shape, and that it says the same as the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from corral.cluster.ray import environment, library
from corral.cluster.ray.ports import SERVER_PORT

FOLDER = Path(__file__).parents[3] / "deploy" / "kuberay"
TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def of(required: str = "", /, **properties: Any) -> dict[str, Any]:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def several(of_what: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of_what, "minItems": 1}


METADATA = of("name", name=TEXT)
PORT = {"type": ["integer", "string"]}
CONTAINER = of(
    "name image",
    name=TEXT,
    image=TEXT,
    command=several(TEXT),
    env=several(of("name", name=TEXT, value=TEXT, valueFrom=of(fieldRef=of("fieldPath", fieldPath=TEXT)))),
    lifecycle=of(postStart=of(exec=of("command", command=several(TEXT)))),
    ports=several(of("containerPort", name={"type": "string", "maxLength": 15}, containerPort=COUNT)),
    readinessProbe=of(httpGet=of("port", path=TEXT, port=PORT), periodSeconds=COUNT),
    resources=of(requests=TEXTS, limits=TEXTS),
    volumeMounts=several(of("name mountPath", name=TEXT, mountPath=TEXT, readOnly={"type": "boolean"})),
)
POD = of(
    "spec",
    spec=of(
        "containers",
        containers=several(CONTAINER),
        initContainers=several(CONTAINER),
        terminationGracePeriodSeconds=COUNT,
        volumes=several(of("name", name=TEXT, emptyDir=of(), secret=of("secretName", secretName=TEXT))),
    ),
)
# https://docs.ray.io/en/master/cluster/kubernetes/references/api.html: what of it is used.
SCHEMAS = {
    "RayCluster": of(
        "headGroupSpec",
        rayVersion=TEXT,
        authOptions=of(mode={"enum": ["disabled", "token"]}, secretName=TEXT),
        headGroupSpec=of("template", rayStartParams=TEXTS, template=POD),
        workerGroupSpecs=several(
            of(
                "groupName template minReplicas maxReplicas",
                groupName=TEXT,
                replicas=COUNT,
                minReplicas=COUNT,
                maxReplicas=COUNT,
                rayStartParams=TEXTS,
                template=POD,
            )
        ),
    ),
    "Service": of("ports", selector=TEXTS, ports=several(of("port", name=TEXT, port=COUNT, targetPort=PORT))),
    "NetworkPolicy": of(
        "podSelector",
        podSelector=of(matchLabels=TEXTS),
        policyTypes=several({"enum": ["Ingress", "Egress"]}),
        ingress=several(
            {
                "properties": {
                    "from": several(of(podSelector=of(matchLabels=TEXTS))),
                    "ports": several(of(protocol={"enum": ["TCP", "UDP"]}, port=PORT)),
                },
                "additionalProperties": False,
            }
        ),
    ),
}


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, Any]]:
    return {part["kind"]: part for part in yaml.safe_load_all((FOLDER / "corral.yaml").read_text())}


def groups(parts: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    spec = parts["RayCluster"]["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def variables(group: dict[str, Any]) -> dict[str, str]:
    container = group["template"]["spec"]["containers"][0]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def test_it_has_the_shape_that_kubernetes_wants(parts: dict[str, dict[str, Any]]) -> None:
    versions = {"RayCluster": "ray.io/v1", "Service": "v1", "NetworkPolicy": "networking.k8s.io/v1"}
    assert {kind: part["apiVersion"] for kind, part in parts.items()} == versions
    for kind, part in parts.items():
        shape = of(
            "apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=SCHEMAS[kind]
        )
        jsonschema.validate(part, shape)


def test_it_names_the_ray_that_corral_works_with(parts: dict[str, dict[str, Any]]) -> None:
    version = parts["RayCluster"]["spec"]["rayVersion"]
    assert tuple(map(int, version.split(".")[:2])) == library.SUPPORTED
    assert f"FROM rayproject/ray:{version}-" in (FOLDER / "Dockerfile").read_text()


def test_the_token_is_required_and_ray_sends_nothing_home(parts: dict[str, dict[str, Any]]) -> None:
    assert parts["RayCluster"]["spec"]["authOptions"] == {"mode": "token"}
    for group in groups(parts):
        assert group["rayStartParams"]["disable-usage-stats"] == "true"
        assert variables(group)["RAY_USAGE_STATS_ENABLED"] == "0"


def test_workers_do_not_get_the_port_of_the_api(parts: dict[str, dict[str, Any]]) -> None:
    for group in groups(parts):
        parameters = group["rayStartParams"]
        used = range(int(parameters["min-worker-port"]), int(parameters["max-worker-port"]) + 1)
        assert len(used) > 10 and SERVER_PORT not in used


def test_servers_run_where_memory_is_offered(parts: dict[str, dict[str, Any]]) -> None:
    """KubeRay puts the text between quotes into a shell command."""
    head, *workers = groups(parts)
    assert "resources" not in head["rayStartParams"]
    for group in workers:
        text = group["rayStartParams"]["resources"]
        assert json.loads(json.loads(text))["corral_ram_gb"] >= 1
        # Those that are about servers; the others are about Ray nodes that Corral starts.
        for name in ("memory_monitor_refresh_ms", "worker_niceness", "worker_oom_score_adjustment"):
            assert variables(group)[f"RAY_{name}"] == environment.SETTINGS[f"RAY_{name}"]
    command = head["template"]["spec"]["containers"][0]["lifecycle"]["postStart"]["exec"]["command"][-1]
    assert re.search(r"corral cluster start --ray-address \S+ --every-node$", command)


def test_every_pod_has_the_key_for_its_owner_alone(parts: dict[str, dict[str, Any]]) -> None:
    for group in groups(parts):
        spec = group["template"]["spec"]
        names = {volume["name"] for volume in spec["volumes"]}
        for container in [*spec["initContainers"], *spec["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= names
        assert "install -m 600" in spec["initContainers"][0]["command"][-1]
        assert variables(group)["CORRAL_HOME"] == "/corral/home"


def test_the_service_finds_the_servers(parts: dict[str, dict[str, Any]]) -> None:
    assert parts["Service"]["spec"]["selector"]["ray.io/cluster"] == parts["RayCluster"]["metadata"]["name"]
    (port,) = parts["Service"]["spec"]["ports"]
    (container,) = groups(parts)[1]["template"]["spec"]["containers"]
    assert {"name": port["targetPort"], "containerPort": SERVER_PORT} in container["ports"]
    assert parts["NetworkPolicy"]["spec"]["ingress"][1]["ports"] == [{"protocol": "TCP", "port": SERVER_PORT}]
