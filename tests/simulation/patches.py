"""What the simulated code finds in the place of clocks, chance, threads, sockets and signals while a world runs.

The code itself is unchanged. Modules see other modules under the same names, and clocks that are the defaults of
arguments are replaced there.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.simulation import threads
from tests.simulation.sockets import SimSocket, resolve

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

_current: list[VirtualLoop] = []


def loop() -> VirtualLoop:
    """Of the world that runs."""
    return _current[-1]


@contextlib.contextmanager
def running(world_loop: VirtualLoop) -> Iterator[None]:
    """What follows runs in this world."""
    _current.append(world_loop)
    try:
        yield
    finally:
        _current.pop()


class _Time:
    """`time`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def time() -> float:
        return loop().wall_s()

    @staticmethod
    def monotonic() -> float:
        return loop().time()

    @staticmethod
    def monotonic_ns() -> int:
        return loop().clock_ns()

    perf_counter = monotonic
    perf_counter_ns = monotonic_ns

    @staticmethod
    def sleep(seconds: float) -> None:
        loop().threads.sleep(seconds)


class _Random:
    """`random`, from the world's seed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(loop().chance, name)


class _OS:
    """`os`: signals reach children of the simulation alone, and the disk may be full."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @staticmethod
    def killpg(pid: int, signal: int) -> None:
        loop().processes.killpg(pid, signal)

    @staticmethod
    def pwrite(handle: int, data: Any, position: int) -> int:
        loop().disk.before_write(len(data))
        return os.pwrite(handle, data, position)

    @staticmethod
    def fdatasync(handle: int) -> None:
        """Nothing of a simulation has to survive it."""

    fsync = fdatasync


TIME, RANDOM, OS = _Time(), _Random(), _OS()
THREADING = SimpleNamespace(
    Thread=lambda *args, **kwargs: threads.Thread(loop().threads, *args, **kwargs),
    Lock=lambda: threads.Lock(loop().threads),
    Condition=lambda: threads.Condition(loop().threads),
    Event=lambda: threads.Event(loop().threads),
    get_ident=lambda: loop().threads.ident(),
)
SOCKET = SimpleNamespace(
    socket=SimSocket,
    SOCK_STREAM=1,
    AF_INET=2,
    AF_INET6=10,
    IPPROTO_TCP=6,
    TCP_NODELAY=1,
    SHUT_RDWR=2,
    getaddrinfo=lambda host, port, **_: resolve(host, port),
    gaierror=OSError,
    EAI_NONAME=-2,
)
_REGISTRY = "corral.registry."
# Modules, and what they see under which name.
_SEEN: dict[str, dict[str, Any]] = {
    "corral.runner.process": {"os": OS, "child_environment": lambda: {"PATH": "/bin"}},
    "corral.runner.factory": {"make_socket_folder": lambda: Path("/nowhere/simulated")},
    "corral.api.http.steps.limits": {"time": TIME},
    "corral.api.cluster.gateway": {"random": RANDOM},
    "corral.cluster.peers.peer": {"random": RANDOM, "time": TIME},
    "corral.threads": {"threading": THREADING},
    _REGISTRY + "auth": {"threading": THREADING, "time": TIME},
    _REGISTRY + "address_filter": {"socket": SOCKET},
    _REGISTRY + "counts": {"threading": THREADING},
    _REGISTRY + "deadlines": {"threading": THREADING},
    _REGISTRY + "download": {"threading": THREADING, "time": TIME, "random": RANDOM},
    _REGISTRY + "limits": {"threading": THREADING},
    _REGISTRY + "partial": {"threading": THREADING, "time": TIME, "os": OS},
    _REGISTRY + "part_state": {"threading": THREADING, "os": OS},
    _REGISTRY + "prefix": {"threading": THREADING},
    _REGISTRY + "pull": {"threading": THREADING, "random": RANDOM},
    _REGISTRY + "transport": {"threading": THREADING, "socket": SOCKET, "proxy_for": lambda _url: None},
    _REGISTRY + "compat_urllib3": {"socket": SOCKET},
    "urllib3.connection": {"wait_for_read": lambda sock, timeout: sock.is_readable},
}
# Functions whose defaults are clocks.
_CLOCKED = (
    "corral.runner.places:Places.__init__",
    "corral.access.allowances:KeyAllowance.__init__",
    "corral.registry.deadlines:Deadlines.__init__",
    "corral.registry.limits:RateLimit.__init__",
)
_CLOCKS: dict[Callable[[], Any], Callable[[], Any]] = {
    time.time: TIME.time,
    time.monotonic: TIME.monotonic,
    time.monotonic_ns: TIME.monotonic_ns,
}


def fast_folder() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Have the modules see the simulation. Nothing else may use them meanwhile."""
    with contextlib.ExitStack() as stack:
        for module_name, seen in _SEEN.items():
            module = importlib.import_module(module_name)
            for name, value in seen.items():
                stack.enter_context(replaced(module, name, value))
        # Workers are kept in a set: what is walked through there must not depend on addresses.
        worker = importlib.import_module("corral.registry.download")._Worker
        stack.enter_context(replaced(worker, "__hash__", lambda self: self.thread.number))
        for place in _CLOCKED:
            stack.enter_context(_clocked(place))
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute that has another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _clocked(place: str) -> Iterator[None]:
    module_name, _, path = place.partition(":")
    function: Any = importlib.import_module(module_name)
    for name in path.split("."):
        function = getattr(function, name)
    positional = tuple(_CLOCKS.get(value, value) for value in function.__defaults__ or ())
    named = {name: _CLOCKS.get(value, value) for name, value in (function.__kwdefaults__ or {}).items()}
    assert (positional, named) != (function.__defaults__ or (), function.__kwdefaults__ or {}), place
    with (
        replaced(function, "__defaults__", positional or None),
        replaced(function, "__kwdefaults__", named or None),
    ):
        yield
