"""A real registry server (Debian's `docker-registry`) in a folder of its own, filled without our client."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from tests.doubles.certificates import TestCertificate
from tests.ports import free_port

__all__ = ["BINARY", "CONFIG_TYPE", "MANIFEST_TYPE", "RealRegistry", "digest_of", "layer", "manifest_of"]

BINARY = shutil.which("docker-registry")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_PREFIX = "application/vnd.ollama.image."


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(kind: str, data: bytes) -> dict[str, Any]:
    media_type = CONFIG_TYPE if kind == "config" else _PREFIX + kind
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def manifest_of(layers: dict[str, bytes], config: bytes) -> bytes:
    """A manifest with one layer of each kind that is given."""
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": layer("config", config),
        "layers": [layer(kind, data) for kind, data in layers.items()],
    }
    return json.dumps(value, indent=3).encode()


class RealRegistry:
    """Starts at once. `token_realm` and `certificate` switch token authentication on, `tls` makes it speak TLS."""

    def __init__(
        self,
        *,
        token_realm: str = "",
        certificate: Path | None = None,
        htpasswd: str = "",
        tls: TestCertificate | None = None,
    ) -> None:
        assert BINARY is not None
        self.folder = Path(tempfile.mkdtemp(prefix="corral-registry-"))
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.base = f"{'https' if tls else 'http'}://{self.host}"
        self._requests = requests.Session()
        self._requests.trust_env = False
        if tls is not None:
            self._requests.verify = str(tls.path)
        auth: dict[str, Any] = {}
        if token_realm:
            token = {
                "realm": token_realm,
                "service": "test",
                "issuer": "test",
                "rootcertbundle": str(certificate),
            }
            auth = {"auth": {"token": token}}
        if htpasswd:
            (self.folder / "htpasswd").write_text(htpasswd)
            auth = {"auth": {"htpasswd": {"realm": "test", "path": str(self.folder / "htpasswd")}}}
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": self.host,
                **({"tls": {"certificate": str(tls.path), "key": str(tls.key_path)}} if tls else {}),
            },
            **auth,
        }
        (self.folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert BINARY is not None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BINARY, "serve", str(self.folder / "config.yml")], stdout=log, stderr=log
            )
        for _ in range(600):
            try:
                self._requests.get(f"{self.base}/v2/", timeout=10)
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)
                continue
            return
        raise AssertionError("docker-registry does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._requests.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- plain HTTP, for tests ---

    def put_blob(self, repository: str, data: bytes, **options: Any) -> str:
        digest = digest_of(data)
        start = self._requests.post(f"{self.base}/v2/{repository}/blobs/uploads/", timeout=60, **options)
        assert start.status_code == 202, start.text
        url = start.headers["Location"]
        done = self._requests.put(f"{url}&digest={digest}", data=data, timeout=60, **options)
        assert done.status_code == 201, done.text
        return digest

    def put_blob_file(self, repository: str, path: Path, digest: str) -> None:
        """A blob that does not have to fit into memory."""
        start = self._requests.post(f"{self.base}/v2/{repository}/blobs/uploads/", timeout=60)
        with path.open("rb") as file:
            done = self._requests.put(f"{start.headers['Location']}&digest={digest}", data=file, timeout=3600)
        assert done.status_code == 201, done.text

    def put_manifest(self, repository: str, tag: str, data: bytes, **options: Any) -> None:
        headers = {"Content-Type": MANIFEST_TYPE, **options.pop("headers", {})}
        url = f"{self.base}/v2/{repository}/manifests/{tag}"
        done = self._requests.put(url, data=data, headers=headers, timeout=60, **options)
        assert done.status_code == 201, done.text

    def put_model(
        self, repository: str, layers: dict[str, bytes], config: bytes, tag: str = "latest", **options: Any
    ) -> bytes:
        """Upload a model; returns its manifest."""
        for data in (*layers.values(), config):
            self.put_blob(repository, data, **options)
        manifest = manifest_of(layers, config)
        self.put_manifest(repository, tag, manifest, **options)
        return manifest

    def get(self, path: str, **options: Any) -> requests.Response:
        return self._requests.get(f"{self.base}/v2/{path}", timeout=60, **options)
