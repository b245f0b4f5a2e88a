"""What `cluster start` and `cluster join` are told, as the record of this machine's node."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from corral.access.clusterkey import ClusterKeyError, read_cluster_key, write_cluster_key
from corral.cli.frame.flags import Arguments, UsageError
from corral.cluster.ray.addresses import choose_address
from corral.cluster.ray.ports import DEFAULT_RANGE, HEAD_PORT, SERVER_PORT, PortPlan
from corral.cluster.ray.record import NodeRecord, cluster_folder
from corral.cluster.ray.token import check_token, ray_token, write_token
from corral.clustervalues import is_node_name
from corral.config import Settings
from corral.devices import read_memory
from corral.errors import CorralError
from corral.gpus import read_gpus
from corral.homefolder import home_folder

_GIB = 1 << 30
# Ray's resources are whole numbers from 1 on.
_SMALLEST_GB = 1.0
# Of whoever starts the node, not of its server.
_CLIENTS_OWN = ("OLLAMA_HOST", "CORRAL_HOSTS", "CORRAL_API_KEY", "CORRAL_AUTOSERVE")
_EVERYWHERE = ("", "0.0.0.0", "::")


def record_of(arguments: Arguments, settings: Settings) -> NodeRecord:
    """Make the record; also the cluster key, if this starts a cluster, and Ray's token.

    Raises:
        UsageError, CorralError
    """
    is_join = arguments.words[0] == "join"
    guest_of = arguments.get("ray-address")
    _check(arguments, is_join=is_join, guest_of=guest_of)
    head = _with_port(arguments.words[1]) if is_join and not guest_of else guest_of
    host = settings.host
    if host.is_unix or not host.port:
        raise CorralError("the others need an address and a port of this server", hint="correct OLLAMA_HOST")
    wanted = arguments.get("address") or ("" if host.host in _EVERYWHERE or host.is_loopback else host.host)
    towards = head.rpartition(":")[0] if is_join and not guest_of else ""
    address = choose_address(wanted, arguments.get("interface"), towards=towards)
    head_port = arguments.integer("port", HEAD_PORT)
    ports = arguments.get("ports", DEFAULT_RANGE)
    PortPlan.parse(ports, head=head_port, server=host.port)
    name = arguments.get("name") or settings.cluster_name or _default_name(host.port)
    if not is_node_name(name):
        raise CorralError(
            f"{name[:80]!r} is not a name of a node", hint="use letters, digits, dots and hyphens"
        )
    home = home_folder()
    token_file = _token(settings, home, arguments, may_make=not is_join, is_guest=bool(guest_of))
    has_tls = settings.tls_cert is not None or settings.is_self_signed
    return NodeRecord(
        cluster_folder(home),
        name,
        address,
        host.port,
        head=head or _joined(address, head_port),
        scheme="https" if has_tls else "http",
        is_head=not is_join and not guest_of,
        is_guest=bool(guest_of),
        is_everywhere=arguments.has("every-node"),
        ports=ports,
        head_port=head_port,
        resources={f"corral_node:{name}": 1.0, **offered()},
        token_file=token_file,
        variables=_variables(address, settings),
    )


def offered() -> dict[str, float]:
    """Memory of the machine and of its cards, in GiB, as resources of Ray."""
    total, free = read_memory()
    found = {"corral_ram_gb": max(float(total // _GIB), _SMALLEST_GB)}
    for gpu in read_gpus(total, free):
        found[f"corral_gpu_{gpu.index}"] = max(float(gpu.total_bytes // _GIB), _SMALLEST_GB)
    return found


def _check(arguments: Arguments, *, is_join: bool, guest_of: str) -> None:
    if is_join and bool(guest_of) == (len(arguments.words) == 2):
        raise UsageError("join needs the address of the head, or --ray-address for a Ray that runs already")
    if is_join and arguments.has("head"):
        raise UsageError("--head is for start: a machine that joins is not the head")
    if not is_join and bool(guest_of) == arguments.has("head"):
        raise UsageError("start needs --head for a new cluster, or --ray-address for a Ray that runs already")
    if arguments.has("every-node") and not guest_of:
        raise UsageError("--every-node is for a Ray that runs already: give its --ray-address")
    if arguments.get("token-file") and not guest_of:
        raise UsageError(
            "--token-file is for a Ray that runs already; here the token is made of the cluster key"
        )


def _token(settings: Settings, home: Path, arguments: Arguments, *, may_make: bool, is_guest: bool) -> str:
    """The file with Ray's token, made of the cluster key; of a guest the one that it was given, if any."""
    path = settings.cluster_key_file or home / "cluster.key"
    if may_make and not path.exists():
        write_cluster_key(path)
    try:
        key = read_cluster_key(path)
    except ClusterKeyError as error:
        if not path.exists():
            error.hint = f"copy it from the machine that started the cluster, then: chmod 600 {path}"
        raise
    if is_guest:
        given = arguments.get("token-file")
        if given:
            check_token(Path(given))
        return given and str(Path(given).resolve())
    token = home / "ray.token"
    write_token(token, ray_token(key.text))
    return str(token)


def _variables(address: str, settings: Settings) -> dict[str, str]:
    """Settings that the server is started with: those of this command, and where it listens."""
    host = settings.host
    given = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("OLLAMA_", "CORRAL_")) and name not in _CLIENTS_OWN
    }
    further = list(settings.hosts)
    if host.host in _EVERYWHERE:
        given["OLLAMA_HOST"] = os.environ.get("OLLAMA_HOST") or f"0.0.0.0:{host.port}"
    elif not address.startswith("127."):
        further.append(f"127.0.0.1:{host.port}")  # for the commands of this machine
    return {**given, **({"CORRAL_HOSTS": ",".join(further)} if further else {})}


def _default_name(port: int) -> str:
    name = socket.gethostname()
    return name if port == SERVER_PORT else f"{name}-{port}"


def _with_port(text: str) -> str:
    """The address of a head, with Ray's own port if it has none."""
    host, colon, port = text.rpartition(":")
    has_port = bool(colon) and port.isdigit() and (":" not in host or host.startswith("["))
    return text if has_port else _joined(text, HEAD_PORT)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
