"""The container, the files for Kubernetes, and the workflows: their form, and that they agree with each other."""

from __future__ import annotations

import ast
import http.server
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MANIFEST = DEPLOY / "kubernetes" / "corral.yaml"
PATCH = DEPLOY / "kubernetes" / "gpu" / "statefulset.yaml"


def _documents() -> dict[tuple[str, str], dict[str, Any]]:
    documents = [document for document in yaml.safe_load_all(MANIFEST.read_text()) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def _pod() -> dict[str, Any]:
    pod: dict[str, Any] = _documents()["StatefulSet", "corral"]["spec"]["template"]["spec"]
    return pod


def _merged(base: Any, patch: Any) -> Any:
    """A strategic merge, as far as the patches here need it: maps by key, lists of named things by name."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in patch.items()}}
    if isinstance(base, list) and isinstance(patch, list) and all("name" in each for each in patch if each):
        changes = {each["name"]: each for each in patch if isinstance(each, dict)}
        return [_merged(each, changes.get(each["name"], {})) for each in base] if changes else patch
    return patch


def test_kubernetes_by_its_schemas() -> None:
    """Every object, and the set with the patch for graphics cards, against the published schemas, strictly."""
    if find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed: ./dev packages installs it")
    kubernetes_validate: Any = import_module("kubernetes_validate")
    documents = _documents()
    patch = yaml.safe_load(PATCH.read_text())
    for document in [*documents.values(), _merged(documents["StatefulSet", "corral"], patch)]:
        kubernetes_validate.validate(document, "1.34", strict=True)


def test_the_patch_for_cards_keeps_the_rest() -> None:
    whole = _merged(_documents()["StatefulSet", "corral"], yaml.safe_load(PATCH.read_text()))
    (container,) = whole["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["serve", "--install-engine"]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_the_pod_is_closed_and_drains() -> None:
    pod = _pod()
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    for container in [*pod["containers"], *pod["initContainers"]]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
    (container,) = pod["containers"]
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")
    }
    assert probes == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}
    server = tomllib.loads(_documents()["ConfigMap", "corral"]["data"]["config.toml"])["server"]
    seconds = [int(server[key].removesuffix("s")) for key in ("drain_delay", "drain_timeout")]
    assert sum(seconds) < pod["terminationGracePeriodSeconds"]


def test_names_of_the_objects_agree() -> None:
    documents = _documents()
    labels = documents["StatefulSet", "corral"]["spec"]["template"]["metadata"]["labels"]
    for kind, name in (("Service", "corral"), ("Service", "corral-pods")):
        assert documents[kind, name]["spec"]["selector"].items() <= labels.items()
    policy = documents["NetworkPolicy", "corral"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert ("Service", documents["StatefulSet", "corral"]["spec"]["serviceName"]) in documents
    assert ("ServiceAccount", _pod()["serviceAccountName"]) in documents
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    images = {each["image"].partition(":")[0] for each in [*_pod()["containers"], *_pod()["initContainers"]]}
    assert images == {image["name"] for image in kustomization["images"]}


@pytest.mark.process
@pytest.mark.slow
def test_the_configuration_of_the_pod(tmp_path: Path) -> None:
    """`corral config check` knows every key of it."""
    path = tmp_path / "config.toml"
    path.write_text(_documents()["ConfigMap", "corral"]["data"]["config.toml"])
    env = {"CORRAL_CONFIG": str(path), "HF_READ_TOKEN": "", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    code = "import sys; from corral.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "config", "check"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _dockerfile() -> str:
    return (DEPLOY / "container" / "Dockerfile").read_text()


def test_the_image_runs_as_nobody_with_a_health_check() -> None:
    final = _dockerfile().rpartition("\nFROM ")[2]
    for line in ("USER 10001:10001", "VOLUME /data", "EXPOSE 11434", "HEALTHCHECK ", "STOPSIGNAL SIGTERM"):
        assert f"\n{line}" in final
    assert "OLLAMA_HOST=0.0.0.0:11434" in final and "OLLAMA_MODELS=/data/" in final
    assert _pod()["securityContext"]["runAsUser"] == 10001


def test_what_the_image_copies_is_sent_to_its_build() -> None:
    """`.dockerignore` lets through what the Dockerfile copies, and those files exist."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        word for line in re.findall(r"^COPY (?!--)(.+)$", _dockerfile(), re.M) for word in line.split()[:-1]
    ]
    assert copied and set(copied) == set(allowed)
    assert all((ROOT / name).exists() for name in copied)


def test_compose_is_closed() -> None:
    service = yaml.safe_load((DEPLOY / "container/compose.yaml").read_text())["services"]["corral"]
    assert service["ports"] == ["127.0.0.1:11434:11434"] and service["read_only"]
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    gpu = yaml.safe_load((DEPLOY / "container/compose.gpu.yaml").read_text())["services"]
    assert gpu.keys() == {"corral"} and gpu["corral"]["command"] == ["serve", "--install-engine"]


class _Ready(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        body = b'{"status":"not ready","reasons":[{"check":"disk","message":"full"}]}'
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def ready() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("form", "status", "code", "words"),
    [
        ("{}", 200, 0, "200"),
        ("http://{}", 200, 0, "200"),
        ("{}", 503, 1, "503 full"),
        ("unix:///nowhere.sock", 200, 1, "no answer"),
        ("127.0.0.1:1", 200, 1, "no answer"),
    ],
)
def test_the_health_check(
    ready: str,
    form: str,
    status: int,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_Ready, "status", status)
    monkeypatch.setenv("OLLAMA_HOST", form.format(ready))
    space: dict[str, Any] = {"__name__": "healthcheck"}
    exec(compile(ast.parse((DEPLOY / "container/healthcheck.py").read_text()), "healthcheck", "exec"), space)
    assert space["main"]() == code
    assert capsys.readouterr().out.startswith(words)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows(path: Path) -> None:
    """Every job ends, has no more rights than it needs, and takes actions of a fixed major version."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d+|release/v\d+|[0-9a-f]{40})", step["uses"]), step
            # What outsiders choose, such as the name of a branch, is never part of a script.
            assert "${{ github" not in step.get("run", "").replace("${{ github.ref_name, 'rc'", "")
    text = path.read_text()
    for script in re.findall(r"(?:^|\s)(\.?/?(?:scripts|packaging|\.ci)/[\w./-]+|\./dev)\b", text):
        assert (ROOT / script).exists(), script


@pytest.mark.process
def test_schemas_of_workflows_and_compose() -> None:
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed: ./dev packages installs it")
    compose = sorted((DEPLOY / "container").glob("*.yaml"))
    for schema, files in (("github-workflows", WORKFLOWS), ("compose-spec", compose)):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
