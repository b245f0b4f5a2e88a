"""Models that nodes get from each other: who is asked, what is taken, and how a wave spreads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from math import ceil, log2
from pathlib import Path

import pytest

from corral.api.registry import models
from corral.digest import Digest
from corral.errors import CorralError
from corral.library.pull_through import Write
from corral.registry import peers
from corral.store.changes import anchor_of
from corral.store.manifests import LIST_MEDIA_TYPE, MANIFEST_MEDIA_TYPE
from tests.cluster.nodes import NAME, Node, Nodes
from tests.doubles.odd_registry import OddRegistry
from tests.registry.conftest import noise
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow

WEIGHTS = noise(8 << 20, seed=21)
WAVE = "abcdefgh"


class Gate:
    """Holds uploads of weights until as many of them wait as one round has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self.wanted = 0
        self._opened = asyncio.Event()
        self._full = asyncio.Event()
        send = models._send_file

        async def held(path: Path, first: int, last: int, write: Write) -> None:
            if last - first >= 1 << 20:
                self.waiting += 1
                if self.waiting >= self.wanted:
                    self._full.set()
                await self._opened.wait()
            await send(path, first, last, write)

        monkeypatch.setattr(models, "_send_file", held)
        monkeypatch.setattr(peers, "_SILENCE_S", 600.0)  # whoever is held is not given up

    async def let_through(self, wanted: int) -> None:
        """Wait until so many uploads are under way at a time, and let them end."""
        self.wanted = wanted
        if self.waiting < wanted:
            self._full.clear()
            async with asyncio.timeout(PATIENCE_S):
                await self._full.wait()
        assert self.waiting == wanted
        self.waiting = 0
        self._opened.set()
        self._opened = asyncio.Event()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(3 * PATIENCE_S):
            await work()

    asyncio.run(main())


def test_a_wave_doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of eight nodes want what one has: each byte is sent seven times, by all who have it, two at a time.

    A round is held until every node that has the model serves two others, or all that are left: were it not so, the
    test would wait in vain.
    """

    async def work() -> None:
        gate = Gate(monkeypatch)
        async with Nodes(tmp_path, WAVE, CORRAL_PULL_STALL_TIMEOUT="600s") as nodes:
            manifest = nodes["a"].add(WEIGHTS)
            pulls = {name: asyncio.ensure_future(nodes[name].pull()) for name in WAVE[1:]}
            rounds, have = 0, 1
            while have < len(WAVE):
                taking = min(2 * have, len(WAVE) - have)
                await gate.let_through(taking)
                rounds, have = rounds + 1, have + taking
                while sum(node.has() for node in nodes.values()) < have:
                    await asyncio.sleep(0.01)
            for lines in await asyncio.gather(*pulls.values()):
                assert lines[-1] == {"status": "success"}
            assert rounds <= ceil(log2(len(WAVE)))
            served = {name: sum(node.turns.peers.values()) for name, node in nodes.items()}
            assert sum(served.values()) == len(WAVE) - 1
            assert max(served.values()) <= 2 * rounds
            assert all(node.turns.most <= 2 for node in nodes.values())
            assert sum(node.turns.refused for node in nodes.values()) > 0
            for node in nodes.values():
                assert node.blob(manifest.layers[0].digest) == WEIGHTS

    run(work)


def test_progress_is_ollamas(tmp_path: Path) -> None:
    """The same lines as of a pull from a registry, and the manifest byte for byte."""

    async def work() -> None:
        async with Nodes(tmp_path, "ab") as nodes:
            manifest = nodes["a"].add(WEIGHTS)
            lines = await nodes["b"].pull()
            weights = manifest.layers[0]
            head = {
                "status": f"pulling {weights.digest.hex[:12]}",
                "digest": str(weights.digest),
                "total": len(WEIGHTS),
            }
            assert {**head, "completed": len(WEIGHTS)} in lines
            assert [line["status"] for line in lines if "digest" not in line] == [
                "verifying sha256 digest",
                "writing manifest",
                "success",
            ]
            stored = [node.store.manifests.read(NAME).source.read_bytes() for node in nodes.values()]
            assert stored[0] == stored[1]

    run(work)


def outside_with(node: Node) -> OddRegistry:
    """A registry that has the model of a node."""
    registry = OddRegistry()
    stored = node.store.manifests.read(NAME)
    registry.manifests["/v2/library/m/manifests/latest"] = stored.source.read_bytes()
    for layer in (*stored.manifest.layers, stored.manifest.config):
        registry.put(node.blob(layer.digest))
    return registry


def test_the_registry_is_asked_for_what_no_node_has(tmp_path: Path) -> None:
    async def work() -> None:
        async with Nodes(tmp_path / "one", "x") as others:
            others["x"].add(WEIGHTS)
            registry = outside_with(others["x"])
        try:
            async with Nodes(tmp_path / "two", "ab", registry.base) as nodes:
                assert (await nodes["b"].pull())[-1] == {"status": "success"}
                before = len(registry.asked)
                assert before
                assert (await nodes["a"].pull())[-1] == {"status": "success"}
                assert len(registry.asked) == before, "the node that has it was not asked"
                # A node that has the model asks the registry whether there is a newer one.
                assert (await nodes["a"].pull())[-1] == {"status": "success"}
                assert [asked.path for asked in registry.asked[before:]] == ["/v2/library/m/manifests/latest"]
        finally:
            registry.close()

    run(work)


def test_an_update_comes_from_the_registry_and_its_blobs_from_nodes(tmp_path: Path) -> None:
    """The second node that updates finds the new weights at the first."""

    async def work() -> None:
        newer = noise(2 << 20, seed=22)
        async with Nodes(tmp_path / "one", "x") as others:
            others["x"].add(newer)
            registry = outside_with(others["x"])
        try:
            async with Nodes(tmp_path / "two", "ab", registry.base) as nodes:
                for node in nodes.values():
                    node.add(WEIGHTS)
                await nodes["a"].pull()
                sent = registry.sent_bytes()
                await nodes["b"].pull()
                assert nodes["b"].blob(Digest.of(newer)) == newer
                assert registry.sent_bytes() == sent
        finally:
            registry.close()

    run(work)


def test_a_node_that_lost_its_weights(tmp_path: Path) -> None:
    """It is passed over, its damaged file too; the manifest's digest is what the cluster agreed on."""

    async def work() -> None:
        async with Nodes(tmp_path, "abcd") as nodes:
            manifest = nodes["a"].add(WEIGHTS)
            for name in "bc":
                nodes[name].add(WEIGHTS)
            digest = manifest.layers[0].digest
            nodes["a"].store.blobs.path(digest).unlink()
            with nodes["b"].store.blobs.path(digest).open("r+b") as file:
                file.truncate(1 << 20)
            assert (await nodes["d"].pull())[-1] == {"status": "success"}
            assert nodes["d"].blob(digest) == WEIGHTS

    run(work)


def test_a_file_that_ends_too_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loses its end while it is sent: the answer is broken off, and the rest comes from elsewhere."""

    async def work() -> None:
        async with Nodes(tmp_path, "abc") as nodes:
            manifest = nodes["a"].add(WEIGHTS)
            nodes["b"].add(WEIGHTS)
            digest = manifest.layers[0].digest

            with nodes["a"].store.blobs.path(digest).open("r+b") as file:
                file.truncate(3 << 20)
            sizes = {layer.digest: layer.size_bytes for layer in (*manifest.layers, manifest.config)}
            monkeypatch.setattr(nodes["a"].store.blobs, "size_bytes", sizes.__getitem__)
            assert (await nodes["c"].pull())[-1] == {"status": "success"}
            assert nodes["c"].blob(digest) == WEIGHTS

    run(work)


def test_wrong_bytes_everywhere(tmp_path: Path) -> None:
    """An error, and no model; the name is as free as it was."""

    async def work() -> None:
        async with Nodes(tmp_path, "ab") as nodes:
            manifest = nodes["a"].add(WEIGHTS)
            path = nodes["a"].store.blobs.path(manifest.layers[0].digest)
            path.write_bytes(bytes(len(WEIGHTS)))
            with pytest.raises(CorralError, match=r"127\.0\.0\.1:9"):
                await nodes["b"].pull()
            assert not nodes["b"].has()
            assert not nodes["b"].store.blobs.has(manifest.layers[0].digest)

    run(work)


def test_another_key(tmp_path: Path) -> None:
    """Nodes that refuse the key are passed over."""

    async def work() -> None:
        async with Nodes(tmp_path / "one", "x") as others:
            others["x"].add(WEIGHTS)
            registry = outside_with(others["x"])
        try:
            async with Nodes(tmp_path / "two", "ab", registry.base) as nodes:
                nodes["a"].add(WEIGHTS)
                nodes["b"].key = "another one"
                assert (await nodes["b"].pull())[-1] == {"status": "success"}
                assert not nodes["a"].turns.peers
                assert registry.sent_bytes() > len(WEIGHTS)
        finally:
            registry.close()

    run(work)


def test_offline(tmp_path: Path) -> None:
    """Other nodes are asked, and nobody else."""

    async def work() -> None:
        registry = OddRegistry()
        try:
            async with Nodes(tmp_path, "ab", registry.base, CORRAL_OFFLINE="1") as nodes:
                with pytest.raises(CorralError, match=r"no peer has m.*, and this server is offline"):
                    await nodes["b"].pull()
                nodes["a"].add(WEIGHTS)
                assert (await nodes["b"].pull())[-1] == {"status": "success"}
                assert (await nodes["b"].pull())[-1] == {"status": "success"}
                assert not registry.asked
        finally:
            registry.close()

    run(work)


def test_a_list_of_variants(tmp_path: Path) -> None:
    """A model that came as a list of manifests is passed on as one, with its ID."""

    async def work() -> None:
        async with Nodes(tmp_path, "ab") as nodes:
            manifest = nodes["a"].add(WEIGHTS)
            store = nodes["a"].store
            inner = store.manifests.read(NAME).source.read_bytes()
            variant = store.blobs.put_bytes(inner)
            entry = {"mediaType": MANIFEST_MEDIA_TYPE, "digest": str(variant.digest), "size": len(inner)}
            listed = json.dumps(
                {"schemaVersion": 2, "mediaType": LIST_MEDIA_TYPE, "manifests": [{**entry, "format": "gguf"}]}
            ).encode()
            store.manifests.write(NAME, anchor_of(store, manifest, listed))
            before = store.manifests.read(NAME)
            assert before.list_digest == Digest.of(listed)
            assert (await nodes["b"].pull())[-1] == {"status": "success"}
            after = nodes["b"].store.manifests.read(NAME)
            assert (after.digest_hex, after.list_digest) == (before.digest_hex, before.list_digest)
            assert nodes["b"].blob(manifest.layers[0].digest) == WEIGHTS

    run(work)


def test_nodes_that_disagree(tmp_path: Path) -> None:
    """A node that has nothing gets what most have, and takes it from those."""

    async def work() -> None:
        async with Nodes(tmp_path, "abcd") as nodes:
            nodes["a"].add(noise(1 << 20, seed=5))
            for name in "bc":
                nodes[name].add(WEIGHTS)
            assert (await nodes["d"].pull())[-1] == {"status": "success"}
            assert nodes["d"].blob(Digest.of(WEIGHTS)) == WEIGHTS
            assert not nodes["a"].turns.peers

    run(work)
