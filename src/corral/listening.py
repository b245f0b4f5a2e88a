"""The listening socket, the descriptors for its connections, and warnings about the address."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
import stat
import struct
import sys
from collections.abc import MutableMapping
from pathlib import Path

from corral.errors import CorralError
from corral.hostaddress import HostAddress

BACKLOG = 2048
_FIRST_PASSED = 3
# linux/filter.h and asm-generic/socket.h
_BPF_RETURN = 0x06
_ATTACH_REUSEPORT_CBPF = 51
# More than a personal machine needs, and more than a hostile client should get.
_MAX_CONNECTIONS = 4096
_MAX_DESCRIPTORS = 1 << 16
# For everything but connections: models, pipes to children, the store.
_SPARE_DESCRIPTORS = 64

_HINTS = {
    errno.EADDRINUSE: "another server may be running; set OLLAMA_HOST to use another address",
    errno.EACCES: "ports below 1024 need privileges; set OLLAMA_HOST to use another port",
    errno.EADDRNOTAVAIL: "this machine does not have this address; correct OLLAMA_HOST",
}


def listen(address: HostAddress, *, reuse_port: bool = False) -> socket.socket:
    """Bind before anything slow happens, so that early clients wait instead of failing.

    With `reuse_port`, several servers of a user share the port: one takes over while the other drains.

    Raises:
        CorralError
    """
    try:
        family, kind, protocol, _, sockaddr = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and not address.host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(sockaddr)
        listener.listen(BACKLOG)
    except socket.gaierror as exc:
        raise CorralError(
            f"listen tcp: lookup {address.host}: {(exc.strerror or str(exc)).lower()}",
            hint="correct the host in OLLAMA_HOST",
        ) from exc
    except (OSError, UnicodeError) as exc:
        reason = (getattr(exc, "strerror", None) or str(exc)).lower()
        hint = _HINTS.get(getattr(exc, "errno", 0) or 0, "correct OLLAMA_HOST")
        raise CorralError(f"listen tcp {address.host}:{address.port}: bind: {reason}", hint=hint) from exc
    listener.setblocking(False)
    return listener


def steer_to_successor(listener: socket.socket) -> None:
    """Send new connections to the server that shares the port since later, if there is one.

    A closing socket resets what is in its queue and what is in the middle of the handshake, so nothing new may come
    to it before. A program of one instruction, "the second of those that share the port", does that on Linux; where
    there is no second one, or no such option, nothing changes.
    """
    import ctypes  # once, at the end

    if sys.platform != "linux":
        return
    instruction = struct.pack("HBBI", _BPF_RETURN, 0, 0, 1)
    code = ctypes.create_string_buffer(instruction)
    program = struct.pack("HP", 1, ctypes.addressof(code))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, program)


def listen_unix(path: Path, mode: int, group: str) -> socket.socket:
    """A socket in the file system. One that a dead server has left is replaced; one that answers is not.

    Raises:
        CorralError
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o777)  # nobody connects before owner and mode are right
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        if group:
            os.chown(path, -1, _group_id(group))
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        hint = "another server is running there" if exc.errno == errno.EADDRINUSE else "correct the path"
        reason = (exc.strerror or str(exc)).lower()
        raise CorralError(f"listen unix {path}: {reason}", hint=hint) from exc
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    """Raises OSError: a server answers, or what is there is not a socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "exists, and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "address already in use")


def _group_id(group: str) -> int:
    import grp  # rarely needed

    if group.isascii() and group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise OSError(errno.EINVAL, f"the group {group} does not exist") from None


def passed_sockets(env: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that systemd, or a predecessor, has passed on (man 3 sd_listen_fds).

    Children do not get to see them: the variables are removed.

    Raises:
        CorralError: one of them is not a listening stream socket.
    """
    count, pid = env.pop("LISTEN_FDS", ""), env.pop("LISTEN_PID", "")
    env.pop("LISTEN_FDNAMES", "")
    if not (count.isascii() and count.isdigit()) or pid != str(os.getpid()):
        return []
    return [_passed(number) for number in range(_FIRST_PASSED, _FIRST_PASSED + int(count))]


def _passed(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
        is_listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise CorralError(f"the passed descriptor {descriptor} cannot be used: {reason}") from exc
    if found.type != socket.SOCK_STREAM or not is_listening:
        raise CorralError(f"the passed descriptor {descriptor} is not a listening stream socket")
    found.setblocking(False)
    return found


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one, as Go does; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def connection_limit(descriptors: int) -> int:
    """The number of connections that fit: each may need a second descriptor, to the engine."""
    spare = min(_SPARE_DESCRIPTORS, descriptors // 4)
    return max(min((descriptors - spare) // 2, _MAX_CONNECTIONS), 8)


def is_public(host: str) -> bool:
    """Whether other machines can reach a server that listens there. Names other than localhost count as public."""
    try:
        return not ipaddress.ip_address(host or "0.0.0.0").is_loopback
    except ValueError:
        return host != "localhost"


def public_warning(host: str, port: int, *, is_off: bool = False) -> str:
    """The warning about an address that other machines can reach without a key, in one line.

    `is_off`: there may be keys, but they are not asked for.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reason, remedy = "there is no API key", "corral key create NAME"
    if is_off:
        reason, remedy = "CORRAL_AUTH=off", "CORRAL_AUTH=remote and corral key create NAME"
    return (
        f"ANYONE WHO CAN REACH {where} CAN USE, CHANGE AND DELETE THE MODELS: {reason}. To require one: {remedy}. "
        "To keep other machines out: OLLAMA_HOST=127.0.0.1"
    )
