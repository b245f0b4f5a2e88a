"""Pull one large blob from a registry on this machine, against `curl` of the same blob to the same disk, in turns.

`curl` neither hashes nor waits for the disk. Corral does both: its time runs until `success`, when the blob is
verified, durable and in its place. `curl` with a `sync` of its file behind it is shown as well. Needs
`docker-registry` and `curl`.

    python -m bench.bench_pull --gigabytes 4 --rounds 3 [--tls]
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conftest import Server
from tests.doubles.certificates import TestCertificate
from tests.doubles.real_registry import CONFIG_TYPE, MANIFEST_TYPE, RealRegistry, digest_of

_MIB = 1 << 20
_CONFIG = (
    b'{"model_format":"gguf","model_family":"llama","model_families":null,"model_type":"0","file_type":"F16"}'
)


def make_blob(path: Path, size_bytes: int) -> str:
    """Write bytes that no disk can compress away; return their digest."""
    hasher = hashlib.sha256()
    block = random.Random(7).randbytes(_MIB)
    with path.open("wb") as file:
        for start in range(0, size_bytes, _MIB):
            piece = (start.to_bytes(8, "little") + block)[: min(_MIB, size_bytes - start)]
            file.write(piece)
            hasher.update(piece)
    return f"sha256:{hasher.hexdigest()}"


def curl(url: str, target: Path, *, is_synced: bool, trusted: list[str]) -> float:
    """Seconds."""
    start_s = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", *trusted, "--output", str(target), url], check=True)
    if is_synced:
        subprocess.run(["sync", str(target)], check=True)
    elapsed_s = time.perf_counter() - start_s
    target.unlink()
    return elapsed_s


def pull(server: Server, name: str, *, is_insecure: bool) -> tuple[float, float]:
    """Seconds until the first line of progress, and until the end."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    start_s = time.perf_counter()
    connection.request("POST", "/api/pull", json.dumps({"model": name, "insecure": is_insecure}))
    response = connection.getresponse()
    first_s, last = 0.0, b""
    for line in response:
        first_s = first_s or time.perf_counter() - start_s
        last = line
    elapsed_s = time.perf_counter() - start_s
    connection.close()
    if b'"success"' not in last:
        raise RuntimeError(last.decode())
    return first_s, elapsed_s


def peak_mb(server: Server) -> float:
    """The most memory that the server has had so far."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def settle() -> None:
    """Let nobody pay for what the turn before left to the disk, or for its memory that the system takes back."""
    os.sync()
    time.sleep(2)


def measure(
    registry: RealRegistry, size_bytes: int, rounds: int, folder: Path, certificate: TestCertificate | None
) -> dict[str, list[float]]:
    trusted = ["--cacert", str(certificate.path)] if certificate else []
    env = {"SSL_CERT_FILE": str(certificate.path)} if certificate else {}
    blob = folder / "blob"
    digest = make_blob(blob, size_bytes)
    registry.put_blob_file("lib/big", blob, digest)
    blob.unlink()
    registry.put_blob("lib/big", _CONFIG)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": size_bytes}
    config = {"mediaType": CONFIG_TYPE, "digest": digest_of(_CONFIG), "size": len(_CONFIG)}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
    registry.put_manifest("lib/big", "latest", json.dumps(manifest).encode())
    url = f"{registry.base}/v2/lib/big/blobs/{digest}"
    curl(url, folder / "warm-up", is_synced=True, trusted=trusted)
    found: dict[str, list[float]] = {
        "curl": [],
        "curl and sync": [],
        "corral": [],
        "first line": [],
        "peak MB": [],
    }
    for _ in range(rounds):
        for name, is_synced in (("curl", False), ("curl and sync", True)):
            settle()
            found[name].append(curl(url, folder / "out", is_synced=is_synced, trusted=trusted))
        settle()
        server = Server(**env)
        try:
            first_s, elapsed_s = pull(server, f"{registry.host}/lib/big", is_insecure=certificate is None)
            found["first line"].append(first_s)
            found["corral"].append(elapsed_s)
            found["peak MB"].append(peak_mb(server))
        finally:
            server.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", action="store_true", help="as registries on the internet have it")
    arguments = parser.parse_args()
    size_bytes = int(arguments.gigabytes * 1e9)
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as text:
        folder = Path(text)
        certificate = TestCertificate(folder) if arguments.tls else None
        registry = RealRegistry(tls=certificate)
        try:
            found: dict[str, Any] = measure(registry, size_bytes, arguments.rounds, folder, certificate)
        finally:
            registry.close()
    for name, values in found.items():
        print(
            f"{name}: {', '.join(f'{value:.3f}' for value in values)} (median {statistics.median(values):.3f})"
        )
    for peer in ("curl", "curl and sync"):
        ratios = [theirs / ours for theirs, ours in zip(found[peer], found["corral"], strict=True)]
        print(f"speed as a share of {peer}: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
