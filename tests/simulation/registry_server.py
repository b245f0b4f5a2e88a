"""A registry and the storage that it sends its clients to, as bad as their seed says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from corral.store.manifests import MANIFEST_MEDIA_TYPE
from tests.simulation.network import End, Stream
from tests.simulation.sockets import address_of
from tests.simulation.world import World

HOST, STORAGE = "reg.example", "storage.example"
# What may go wrong with one answer.
FAULTS = (
    "500",
    "503, again in a while",
    "429, again in a while",
    "404",
    "ends early",
    "breaks off",
    "says nothing more",
    "says nothing",
    "wrong bytes",
    "fewer bytes than said",
    "more bytes than said",
    "another range",
    "no ranges",
    "redirects in circles",
    "token expired",
    "not HTTP",
    "no length",
    "very slow",
)
_PIECE = 4096
_MAX_REDIRECTS = 10
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(slots=True)
class Model:
    """What the registry has under one tag."""

    name: str
    manifest: bytes
    blobs: dict[str, bytes]


@dataclass(slots=True)
class Asked:
    """One request for bytes, and what goes wrong with its answer."""

    stream: Stream
    target: str
    headers: dict[str, str]
    fault: str
    is_storage: bool = False


def make_model(name: str, contents: list[bytes]) -> Model:
    """The first is the config, which is JSON; the others are layers."""
    blobs = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in contents}
    kinds = ["model", "template", "license"]
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kinds[i]}", "digest": digest, "size": len(data)}
        for i, (digest, data) in enumerate(list(blobs.items())[1:])
    ]
    digest, config = next(iter(blobs.items()))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": digest,
            "size": len(config),
        },
        "layers": layers,
    }
    return Model(name, json.dumps(manifest).encode(), blobs)


@dataclass
class RegistryServer:
    """`rate`: the share of answers with a fault. `poisoned`: blobs of which the storage has other bytes."""

    world: World
    rate: float = 0.0
    needs_token: bool = False
    sends_on: bool = False
    models: dict[str, Model] = field(default_factory=dict)
    poisoned: set[str] = field(default_factory=set)
    asked_count: int = 0
    # By range of a blob: when it may be asked for again.
    patience: dict[tuple[str, str], float] = field(default_factory=dict)
    _token: int = 1
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def open(self) -> None:
        network = self.world.loop.network
        network.listen(f"{address_of(HOST)}:80", lambda end: self._serve(end, is_storage=False))
        network.listen(f"{address_of(STORAGE)}:80", lambda end: self._serve(end, is_storage=True))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _serve(self, end: End, *, is_storage: bool) -> None:
        self._tasks.append(asyncio.ensure_future(self._converse(Stream(end), is_storage=is_storage)))

    async def _converse(self, stream: Stream, *, is_storage: bool) -> None:
        try:
            while (request := await stream.request()) is not None:
                _, target, headers, _body = request
                self.asked_count += 1
                if not await self._answer(stream, target, headers, is_storage=is_storage):
                    break
        finally:
            stream.end.close()

    async def _answer(
        self, stream: Stream, target: str, headers: dict[str, str], *, is_storage: bool
    ) -> bool:
        """Whether the connection can serve again."""
        world = self.world
        await asyncio.sleep(world.chance.uniform(0, 0.02))
        if is_storage:
            world.check("authorization" not in headers, "secrets", f"the storage got a token for {target}")
        fault = world.chance.choice(FAULTS) if world.maybe(self.rate) else ""
        if fault:
            world.note(f"registry: {target[-24:]} {headers.get('range', '')}: {fault}")
        if target.startswith("/token"):
            return self._give_token(stream, fault)
        if target.startswith("/round"):
            return self._round(stream, target)
        if not is_storage and self.needs_token:
            if fault == "token expired":
                self._token += 1
            if headers.get("authorization") != f"Bearer t{self._token}":
                realm = f'Bearer realm="http://{HOST}/token",service="s",scope="repository:x:pull"'
                stream.answer(401, b"{}", f"WWW-Authenticate: {realm}\r\n")
                return True
        asked = Asked(stream, target, headers, fault, is_storage)
        if "/manifests/" in target:
            return await self._send(asked, self._manifest_of(target), None)
        if self.sends_on and not is_storage and fault != "404":
            stream.answer(307, b"", f"Location: http://{STORAGE}{target}?signed=1\r\n")
            return True
        return await self._blob(asked)

    def _give_token(self, stream: Stream, fault: str) -> bool:
        if fault in ("500", "not HTTP"):
            stream.answer(500, b"broken")
        else:
            stream.answer(200, json.dumps({"token": f"t{self._token}"}).encode())
        return True

    def _round(self, stream: Stream, target: str) -> bool:
        turn = int(target.partition("=")[2]) + 1
        self.world.check(turn <= _MAX_REDIRECTS + 1, "redirects", f"{turn} redirects were followed")
        stream.answer(302, b"", f"Location: /round?turn={turn}\r\n")
        return True

    def _manifest_of(self, target: str) -> bytes:
        return self.models[target.split("/")[-3]].manifest

    async def _blob(self, asked: Asked) -> bool:
        digest = asked.target.rpartition("/")[2].partition("?")[0]
        data = next(model.blobs[digest] for model in self.models.values() if digest in model.blobs)
        if digest in self.poisoned:
            data = bytes(len(data))
        key = (digest, asked.headers.get("range", ""))
        early_s = self.patience.get(key, 0.0) - self.world.now_s
        self.world.check(early_s <= 0, "patience", lambda: f"{key} was asked for {early_s:.3f} s too early")
        match = _RANGE.fullmatch(asked.headers.get("range", ""))
        part = (int(match[1]), int(match[2]) + 1) if match is not None else None
        return await self._send(asked, data, part)

    async def _send(self, asked: Asked, data: bytes, part: tuple[int, int] | None) -> bool:
        """Send a document, or the part of it that was asked for, in the way of the fault."""
        stream = asked.stream
        if (refused := self._refuse(asked)) is not None:
            return refused
        if asked.fault == "no ranges":
            part = None
        start, stop = part or (0, len(data))
        if asked.fault == "another range" and part is not None:
            start = max(start - 100, 0) or min(100, stop)
        body = data[start:stop]
        if asked.fault == "wrong bytes" and body:
            place = self.world.chance.randrange(len(body))
            if "/manifests/" in asked.target:
                place = 0  # what is fetched by a tag has no digest: only a manifest that cannot be read is noticed
            body = body[:place] + bytes([body[place] ^ 0x55]) + body[place + 1 :]
        size = len(body) + {"fewer bytes than said": 500, "more bytes than said": -min(500, len(body))}.get(
            asked.fault, 0
        )
        head = f"Content-Range: bytes {start}-{start + size - 1}/{len(data)}\r\n" if part is not None else ""
        status = 206 if part is not None else 200
        if asked.fault == "no length":
            stream.write(f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\n\r\n".encode())
        else:
            stream.write(f"HTTP/1.1 {status} X\r\n{head}Content-Length: {size}\r\n\r\n".encode())
        return await self._write(asked, body)

    def _refuse(self, asked: Asked) -> bool | None:
        """Whether the connection goes on after a fault that needs no body; None where there is one."""
        stream, fault = asked.stream, asked.fault
        match fault:
            case "500" | "404":
                stream.answer(int(fault), b'{"errors":[{"code":"X"}]}')
                return True
            case "503, again in a while" | "429, again in a while":
                wait_s = self.world.chance.randint(1, 12)
                stream.answer(int(fault[:3]), b"busy", f"Retry-After: {wait_s}\r\n")
                if "/blobs/" in asked.target:
                    digest = asked.target.rpartition("/")[2].partition("?")[0]
                    self.patience[digest, asked.headers.get("range", "")] = self.world.now_s + wait_s - 0.01
                return True
            case "redirects in circles":
                stream.answer(302, b"", "Location: /round?turn=1\r\n")
                return True
            case "not HTTP":
                stream.write(b"\x16\x03\x01 hello\r\n\r\n")
                return False
        return None

    async def _write(self, asked: Asked, body: bytes) -> bool:
        chance, stream, fault = self.world.chance, asked.stream, asked.fault
        ends_at = chance.randint(0, len(body))
        if fault == "says nothing":
            ends_at = 0
        is_cut = fault in ("ends early", "breaks off", "says nothing more", "says nothing")
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            stream.write(piece[: ends_at - start] if is_cut and start + len(piece) > ends_at else piece)
            if is_cut and start + len(piece) > ends_at:
                break
            await asyncio.sleep(chance.uniform(5, 20) if fault == "very slow" else chance.uniform(0, 0.003))
        if fault == "breaks off":
            stream.end.abort()
        if fault.startswith("says nothing"):
            await stream.gone()
        return not is_cut and fault not in ("no length", "fewer bytes than said", "more bytes than said")


def describe(models: dict[str, Model]) -> str:
    """For the trace."""
    sizes: dict[str, Any] = {
        name: [len(blob) for blob in model.blobs.values()] for name, model in models.items()
    }
    return json.dumps(sizes)
