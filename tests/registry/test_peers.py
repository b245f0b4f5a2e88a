"""The way to a peer: TLS with the cluster's authorities, never through a proxy, and with the key of that peer."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.errors import RegistryAuthError, RegistryError
from corral.names import ModelName
from corral.registry.peers import ClusterKey, connect_peer, hosted_repository, peer_policy
from corral.registry.policy import TransferPolicy
from corral.registry.request import Peer
from tests.doubles.certificates import TestCertificate
from tests.doubles.odd_registry import Asked, OddRegistry

POLICY = TransferPolicy(connect_timeout_s=5, head_timeout_s=20, retry_delay_s=0.01)
MANIFEST = b'{"schemaVersion":2}'
DIGEST = Digest.of(MANIFEST)


class Models:
    """What the cluster knows; only the key and TLS are asked for."""

    own_name = "me"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls

    def key(self, url: str) -> str:
        return f"key-of-{url.rpartition(':')[2]}"

    def digest(self, name: ModelName) -> str:
        raise AssertionError(name)

    def holders(self, name: ModelName, digest_hex: str) -> Sequence[Peer]:
        raise AssertionError(name)


def fetch(peer: Peer, tls: ssl.SSLContext | None = None, name: str = "m") -> bytes:
    client = connect_peer(peer, ModelName.parse(name), Models(tls), POLICY)
    try:
        return client.fetch_manifest_of(DIGEST)
    finally:
        client.close()


def registry_with(path: str, certificate: TestCertificate | None = None) -> OddRegistry:
    registry = OddRegistry(certificate=certificate)
    registry.manifests[f"{path}/manifests/{DIGEST}"] = MANIFEST
    return registry


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("m", "/v2/library/m"),
        ("team/m:v2", "/v2/team/m"),
        ("hf.co/user/repo", "/v2/hf.co/user/repo"),
        ("localhost:5000/team/m", "/v2/localhost:5000/team/m"),
    ],
)
def test_a_model_of_any_registry(name: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that servers give it; a proxy of the environment is not for peers."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    registry = registry_with(path)
    try:
        assert fetch(Peer("n", registry.base), name=name) == MANIFEST
        (asked,) = registry.asked
        assert asked.headers["authorization"] == f"Bearer key-of-{registry.port}"
        assert asked.headers["x-corral-peer"] == "me"
    finally:
        registry.close()
    assert path == f"/v2/{hosted_repository(ModelName.parse(name))}"


def test_tls(tmp_path: Path) -> None:
    """The certificate has to be one that the cluster trusts, and for the name that is expected."""
    certificate = TestCertificate(tmp_path, "node.cluster")
    registry = registry_with("/v2/library/m", certificate)
    trusting = ssl.create_default_context(cafile=certificate.path)
    try:
        assert fetch(Peer("n", registry.base), trusting) == MANIFEST
        assert fetch(Peer("n", registry.base, "node.cluster"), trusting) == MANIFEST
        with pytest.raises(RegistryError, match="failed to verify certificate"):
            fetch(Peer("n", registry.base, "other.cluster"), trusting)
        with pytest.raises(RegistryError, match="failed to verify certificate"):
            fetch(Peer("n", registry.base))
    finally:
        registry.close()


def test_the_key_goes_nowhere_else() -> None:
    """A peer that points elsewhere gets nothing but a refusal."""
    other = OddRegistry()
    registry = OddRegistry()

    def point_elsewhere(asked: Asked) -> bool:
        asked.answer(307, b"", {"Location": f"{other.base}/x"})
        return True

    registry.before = point_elsewhere
    try:
        with pytest.raises(RegistryError):
            fetch(Peer("n", registry.base))
        assert all("authorization" not in asked.headers for asked in other.asked)
    finally:
        registry.close()
        other.close()


def test_a_refused_key() -> None:
    """There is no other one to try."""

    def refuse(asked: Asked) -> bool:
        asked.answer(401, b"{}")
        return True

    registry = OddRegistry(refuse)
    try:
        with pytest.raises(RegistryAuthError, match="the peer n refuses the key of the cluster") as info:
            fetch(Peer("n", registry.base))
        assert "same key file" in info.value.hint
        assert len(registry.asked) == 1
    finally:
        registry.close()
    assert ClusterKey("", "n").header() is None


def test_less_patience_than_with_a_registry() -> None:
    policy = peer_policy(TransferPolicy())
    assert policy.connect_timeout_s < TransferPolicy().connect_timeout_s
    assert policy.stall_timeout_s < TransferPolicy().stall_timeout_s
    assert peer_policy(TransferPolicy(stall_timeout_s=1)).stall_timeout_s == 1
