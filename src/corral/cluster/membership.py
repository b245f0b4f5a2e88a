"""Who belongs to the cluster: a source of addresses. Only these are ever contacted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

_LOOK_S = 10.0

# Gives the IP addresses of a host name; raises OSError.
Resolve = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Member:
    """A server by its address. `tls_name`: the name in its certificate, if that is not the host of the address.

    `url` has a scheme, a host and a port, and no slash at the end.
    """

    url: str
    tls_name: str = ""


class Membership(Protocol):
    """A source of members, such as a list in the settings, a DNS name, or Ray."""

    def nodes(self) -> Mapping[str, Member]:
        """The members by a name that stays the same as long as they are the same; the own server may be among them.

        The name is that of the entry, not the one by which the node calls itself.
        """
        ...

    async def changed(self) -> None:
        """Return when `nodes` may give something else. Cancelled at the end."""
        ...


class StaticMembers:
    """A list that does not change."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._nodes = {url: Member(url) for url in urls}

    def nodes(self) -> Mapping[str, Member]:
        return self._nodes

    async def changed(self) -> None:
        await asyncio.get_running_loop().create_future()


class DnsMembers:
    """Every IP address of a name, looked up again and again. `url` is the address with that name in it.

    An answer that cannot be had changes nothing: a name server that is away takes no node away.
    """

    def __init__(self, url: str, resolve: Resolve | None = None, *, look_s: float = _LOOK_S) -> None:
        parts = urlsplit(url)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port
        self._resolve = resolve or _resolve
        self._look_s = look_s
        self._nodes: dict[str, Member] = {}
        self._is_first = True

    def nodes(self) -> Mapping[str, Member]:
        return self._nodes

    async def changed(self) -> None:
        while True:
            if not self._is_first:
                await asyncio.sleep(self._look_s)
            self._is_first = False
            try:
                addresses = await self._resolve(self._host)
            except OSError:
                continue
            found = {member.url: member for member in map(self._member, sorted(set(addresses)))}
            if found and found != self._nodes:
                self._nodes = found
                return

    def _member(self, address: str) -> Member:
        shown = f"[{address}]" if ":" in address else address
        return Member(f"{self._scheme}://{shown}:{self._port}", self._host)


class JoinedMembers:
    """Several sources as one; what the first ones have wins."""

    def __init__(self, sources: Sequence[Membership]) -> None:
        self._sources = tuple(sources)

    def nodes(self) -> Mapping[str, Member]:
        found: dict[str, Member] = {}
        for source in reversed(self._sources):
            found.update(source.nodes())
        return found

    async def changed(self) -> None:
        tasks = [asyncio.ensure_future(source.changed()) for source in self._sources]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


async def _resolve(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return [str(entry[4][0]) for entry in found]
