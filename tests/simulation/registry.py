"""Pulls from a registry that misbehaves: clients leave, servers stop, the disk may be full."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from corral.digest import Digest
from corral.errors import CorralError
from corral.names import ModelName
from corral.registry import deadlines, transport
from corral.registry.active_downloads import Downloads
from corral.registry.auth import Wallet
from corral.registry.policy import TransferPolicy
from corral.registry.pull import Pull, Registries, RegistryContext
from corral.registry.request import TransferRequest
from corral.registry.source import SourceRules
from corral.store.models import ModelStore
from tests.simulation import patches
from tests.simulation.registry_server import HOST, RegistryServer, describe, make_model
from tests.simulation.world import World

# How long a pull may take when nothing goes wrong any more, and when much does.
_CALM_S = 120.0
_LONG_S = 4000.0
# The thread of deadlines ends by then.
_IDLE_S = 100.0


class RegistryWorld(World):
    name = "registry"
    invariants: ClassVar[dict[str, str]] = {
        "right bytes": "a file with the name of a blob has the bytes of its digest",
        "nothing lost": "what was acknowledged is there: the manifest and all of its blobs",
        "progress": "the progress of a pull only grows, up to the size of the blob",
        "served": "where nothing goes wrong every pull succeeds, also after everything that went wrong",
        "an error": "a pull that fails says why, with an error of Corral",
        "bounded": "a pull ends in a bounded time, with a bounded number of requests",
        "secrets": "the token of a registry goes to no other host",
        "redirects": "no more than ten redirects are followed",
        "patience": "nothing is asked for again before the registry said so",
        "leaks": "at the end there are no threads, connections, slots, downloads or temporary files",
    }

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        chance = self.chance
        self._folder = Path(tempfile.mkdtemp(prefix="corral-sim-", dir=patches.fast_folder()))
        self._server = RegistryServer(self, rate=chance.choice((0.0, 0.1, 0.3, 0.6)))
        self._server.needs_token, self._server.sends_on = self.maybe(0.4), self.maybe(0.4)
        for i in range(chance.randint(1, 2)):
            self._server.models[f"m{i}"] = make_model(f"m{i}", self._contents())
        self._acknowledged: set[str] = set()
        self._is_disturbed = bool(self._server.rate)
        self._context: RegistryContext
        self._downloads: Downloads
        self._store = ModelStore(self._folder / "models")

    def _contents(self) -> list[bytes]:
        """A config, and up to three layers."""
        chance = self.chance
        layers = [chance.randbytes(chance.choice((1, 100, 4096, 30_000, chance.randint(1, 60_000))))]
        layers += [chance.randbytes(chance.randint(1, 3000)) for _ in range(chance.randint(0, 2))]
        config = {"model_format": "gguf", "seed": chance.random()}
        return [json.dumps(config).encode(), *layers]

    async def live(self) -> None:
        try:
            with small_parts():
                await self._live_in_parts()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _live_in_parts(self) -> None:
        self.note(f"models {describe(self._server.models)}, faults in {self._server.rate:.0%} of the answers")
        self._server.open()
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            await self._run_of_server()
        self.note("everything is well from now on")
        self._server.rate, self._is_disturbed, self.loop.disk.free_bytes = 0.0, False, None
        self._server.poisoned.clear()
        self._open()
        for name in self._server.models:
            await self._pull(name, limit_s=_CALM_S)
        await self._downloads.close()
        await asyncio.sleep(_IDLE_S)
        self._check_end()
        self._server.close()

    def _open(self) -> None:
        policy = TransferPolicy()
        rules = SourceRules.parse(f"http://{HOST}", [])
        self._context = RegistryContext(rules, Wallet(self._folder / "no-key"), policy)
        self._downloads = Downloads(self._store.blobs, policy, slots=self._context.slots)

    async def _run_of_server(self) -> None:
        """A server from its start to its end, with a few pulls."""
        chance = self.chance
        self._open()
        self._disturb()
        tasks = [self.spawn(self._client(i), f"client {i}") for i in range(chance.randint(1, 3))]
        ends_s = chance.uniform(0, 3) if self.maybe(0.3) else None
        _, late = await asyncio.wait(tasks, timeout=ends_s or 3 * _LONG_S)
        self.check(not late or ends_s is not None, "bounded", f"{len(late)} pulls have no end")
        for task in late:
            task.cancel()
        if late:
            self.note("the server ends with pulls under way")
            await asyncio.wait(late)
        await self._downloads.close()
        self._check_blobs()

    def _disturb(self) -> None:
        chance, loop = self.chance, self.loop
        blobs = [digest for model in self._server.models.values() for digest in model.blobs]
        self._server.poisoned = {chance.choice(blobs)} if self.maybe(0.1) else set()
        loop.disk.free_bytes = chance.randint(500, 60_000) if self.maybe(0.15) else None
        self._is_disturbed = bool(
            self._server.rate or self._server.poisoned or loop.disk.free_bytes is not None
        )

    async def _client(self, number: int) -> None:
        chance = self.chance
        await asyncio.sleep(chance.uniform(0, 0.5))
        name = chance.choice(sorted(self._server.models))
        work = asyncio.ensure_future(self._pull(name, limit_s=_LONG_S))
        try:
            await asyncio.wait({work}, timeout=chance.uniform(0, 2) if self.maybe(0.3) else None)
        finally:
            if not work.done():
                self.note(f"client {number} leaves")
                work.cancel()
                await asyncio.wait({work})
        if not work.cancelled():
            work.result()

    async def _pull(self, name: str, *, limit_s: float) -> None:
        self._server.patience.clear()
        self.note(f"pull of {name}")
        before = self._server.asked_count
        model = ModelName.parse(name)
        request = TransferRequest()
        source = Registries(self._context, self._context.rules.endpoints(model, is_insecure=False), None)
        pull = Pull(self._store, self._downloads, model, source, request, may_prune=True)
        try:
            async with asyncio.timeout(limit_s):
                await pull.run(self._reporter())
        except TimeoutError:
            self.fail("bounded", f"the pull of {name} has no end after {limit_s} s")
        except CorralError as error:
            self.note(f"pull of {name} fails: {str(error)[:120]}")
            self._server.patience.clear()  # what a registry asked of a pull that has failed is forgotten with it
            self.check(bool(str(error)), "an error", "an error without a text")
            if not self._is_disturbed:
                self.fail("served", f"the pull of {name} failed: {error}")
        else:
            self.note(f"pull of {name} is done")
            self._acknowledged.add(name)
            self._check_model(name)
        count = self._server.asked_count - before
        self.check(count < 2000, "bounded", lambda: f"{count} requests for {name}")

    def _reporter(self) -> Any:
        seen: dict[str, int] = {}

        async def report(line: dict[str, Any]) -> None:
            if "total" in line:
                done, digest = line.get("completed", 0), line["digest"]
                is_right = seen.get(digest, 0) <= done <= line["total"]
                self.check(is_right, "progress", lambda: f"{line} after {seen.get(digest)}")
                seen[digest] = done
            await asyncio.sleep(0)

        return report

    # --- what must hold ---

    def _check_model(self, name: str) -> None:
        model = self._server.models[name]
        known = ModelName.parse(name)
        stored = self._store.manifests.read(known).manifest
        self.check(
            {str(digest) for digest in stored.digests()} == set(model.blobs),
            "nothing lost",
            lambda: f"the manifest of {name} is another one",
        )
        for text, data in model.blobs.items():
            path = self._store.blobs.path(Digest.parse(text))
            self.check(path.exists(), "nothing lost", f"{text} of {name} is gone")
            self.check(path.read_bytes() == data, "right bytes", f"{text} is damaged")

    def _check_blobs(self) -> None:
        """Whatever has the name of a blob has its bytes; what was acknowledged is there."""
        folder = self._store.blobs.folder
        for path in sorted(folder.iterdir()) if folder.exists() else []:
            if "partial" not in path.name and path.name.startswith("sha256-"):
                found = hashlib.sha256(path.read_bytes()).hexdigest()
                self.check(path.name == f"sha256-{found}", "right bytes", f"{path.name} has other bytes")
        for name in sorted(self._acknowledged):
            self._check_model(name)

    def _check_end(self) -> None:
        self._check_blobs()
        self.check(not self._downloads._active, "leaks", "a download is left")
        slots = self._context.slots
        self.check(not (slots._held or slots._waiting), "leaks", lambda: f"slots are held: {slots._held}")
        self.check(
            not self.loop.threads.count, "leaks", lambda: f"{self.loop.threads.count} threads are left"
        )
        ends = [end.address for end in self.loop.network.ends]
        self.check(not ends, "leaks", lambda: f"still connected: {ends}")
        names = {path.name for path in self._store.blobs.folder.iterdir()}
        left = sorted(name for name in names if "-partial" in name and name.partition("-partial")[0] in names)
        self.check(not left, "leaks", lambda: f"left on the disk: {left}")


@contextlib.contextmanager
def small_parts() -> Any:
    """Blobs of a few kilobytes have several parts, and their own deadlines."""
    from corral.registry import download, part_state, partial, prefix

    with contextlib.ExitStack() as stack:
        for module, name, value in (
            (part_state, "_MIN_PART_BYTES", 8192),
            (download, "_READ_BYTES", 4096),
            (partial, "_SAVE_BYTES", 8192),
            (prefix, "_CHUNK_BYTES", 4096),
            (transport, "DEADLINES", deadlines.Deadlines()),
        ):
            stack.enter_context(patches.replaced(module, name, value))
        yield
