"""The checks of `doctor` that concern the server's address, the engine, memory, proxies and variables."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from corral import __version__
from corral.cli.doctor.store_checks import Finding, fail, ok, warn
from corral.cli.frame.flags import PROGRAM
from corral.cli.frame.help import CLIENT_VARIABLES
from corral.cli.http.address import server_client
from corral.cli.http.client import APIError, Client, NoServerError
from corral.cli.terminal.formatting import format_bytes
from corral.config import Settings
from corral.configfile.problems import ConfigFileError
from corral.configfile.reading import read_config
from corral.devices import read_machine
from corral.errors import CorralError
from corral.homefolder import home_folder
from corral.hostaddress import HostAddress
from corral.registry.proxies import proxy_for
from corral.runner.engines.automatic import gpus_of, resolve_engine
from corral.runner.engines.choice import UnknownEngineError
from corral.runner.engines.folders import EngineSetupError
from corral.runner.engines.prove import read_features
from corral.store.catalog import ManifestStore
from corral.urlsecrets import without_userinfo

_ANSWER_TIMEOUT_S = 5.0
_LITTLE_MEMORY_BYTES = 1 << 30
# Features of the CPU as the kernel names them and as the engine does, the most useful first.
_FEATURES = (
    ("avx512f", "AVX512"),
    ("avx512_vnni", "AVX512_VNNI"),
    ("avx512_bf16", "AVX512_BF16"),
    ("amx_int8", "AMX_INT8"),
    ("avx_vnni", "AVX_VNNI"),
    ("asimddp", "DOTPROD"),
    ("i8mm", "MATMUL_INT8"),
    ("sve", "SVE"),
)


def check_server() -> Iterator[Finding]:
    """Whether a server answers at OLLAMA_HOST, which one, and who can reach it."""
    address = HostAddress.parse(os.environ.get("OLLAMA_HOST", ""))
    client = server_client()
    url = client.address.url()
    answer = _within(_ANSWER_TIMEOUT_S, lambda: _ask(client))
    if answer is None:
        yield fail(
            "server",
            f"{url} accepts connections but does not answer within {_ANSWER_TIMEOUT_S:.0f} seconds",
            "look at its log; stop it if it hangs",
        )
        return
    if isinstance(answer, Finding):
        yield answer
        if not client.address.is_loopback or answer.level != "fail":
            return
        if _can_listen(client.address):
            yield ok("port", f"{client.address.port} is free")
        return
    version, is_ours = answer
    kind = PROGRAM.capitalize() if is_ours else "Ollama, or another server with its API"
    if is_ours and version != __version__:
        yield warn(
            "server",
            f"{url}: {kind} {version}, this program is {__version__}",
            "restart the server to update it",
        )
    else:
        yield ok("server", f"{url}: {kind} {version}")
    if address.host in ("", "0.0.0.0", "::"):
        yield warn(
            "server",
            "OLLAMA_HOST listens on every interface; anyone who can reach it can use and delete models",
            "put it behind a firewall or an authenticating proxy",
        )


def _ask(client: Client) -> tuple[str, bool] | Finding:
    url = client.address.url()
    start = f"start it: {PROGRAM} serve"
    try:
        answer = client.call("GET", "/api/version")
        version = str(answer["version"])
    except NoServerError as error:
        advice = (
            start
            if client.address.is_loopback
            else "check OLLAMA_HOST, and whether the server is running on that machine"
        )
        if "is not HTTP" in str(error) or "not http" in str(error):
            return _foreign(url)
        return fail("server", str(error) or f"no server answers at {url}", advice)
    except (APIError, AttributeError, KeyError, TypeError):
        return _foreign(url)
    ours = answer.get("corral_version")
    return (version, False) if ours is None else (str(ours), True)


def _foreign(url: str) -> Finding:
    return fail(
        "server",
        f"{url} is answered by another program, not a model server",
        "find out which program uses the port (ss -ltnp), or set OLLAMA_HOST to another one",
    )


def check_same_store(folder: Path) -> Iterator[Finding]:
    """Whether the local server uses the folder that was checked, or another one."""
    client = server_client()
    if not client.address.is_loopback:
        return
    names = _within(_ANSWER_TIMEOUT_S, lambda: _names(client))
    if not names:
        return
    here = {name.short() for name in ManifestStore(folder / "manifests").names()}
    if others := sorted(set(names) - here):
        yield warn(
            "store",
            f"the server has models that are not in this folder ({', '.join(others[:3])}): it uses another folder",
            f"run {PROGRAM} doctor with the server's OLLAMA_MODELS",
        )


def _names(client: Client) -> list[str]:
    try:
        return [str(model["name"]) for model in client.call("GET", "/api/tags")["models"] or ()]
    except (APIError, NoServerError, KeyError, TypeError):
        return []


def _within(seconds: float, work: Any) -> Any:
    """The result of a function; None if it takes longer. Its thread cannot be stopped and goes on."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return result[0] if result else None


def _can_listen(address: HostAddress) -> bool:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return False
    return True


def check_memory() -> Iterator[Finding]:
    """How much memory is free for models."""
    machine = read_machine()
    text = (
        f"{format_bytes(machine.free_bytes)} free of {format_bytes(machine.total_bytes)}, "
        f"{machine.cpu.physical_count} cores"
    )
    if 0 < machine.free_bytes < _LITTLE_MEMORY_BYTES:
        yield warn("memory", text, f"close other programs, or unload models: {PROGRAM} ps, {PROGRAM} stop")
    else:
        yield ok("memory", text)


def _settings(env: Mapping[str, str]) -> Settings:
    """With the configuration files, unless they cannot be used, which another check reports."""
    try:
        return Settings.load(env)
    except ConfigFileError:
        return Settings.from_env(env)


def check_gpus(env: Mapping[str, str]) -> Iterator[Finding]:
    """The GPUs, and whether the engine uses them."""
    settings = _settings(env)
    home = home_folder(env)
    try:
        resolved = resolve_engine(settings, home, env)
    except UnknownEngineError:
        return  # reported by the check of the engine
    for note in resolved.notes:
        what, _, command = note.partition("; ")
        yield warn("engine", what, command or f"{PROGRAM} engine info")
    gpus = gpus_of(settings, resolved, env)
    problem, advice = gpus.problem()
    if problem:
        yield warn("gpu", problem, advice)
    for gpu in read_machine(gpus.read).gpus:
        sizes = f"{format_bytes(gpu.free_bytes)} free of {format_bytes(gpu.total_bytes)}"
        yield ok("gpu", f"{gpu.device}: {gpu.name} ({gpu.library}), {sizes}")


def check_engine(env: Mapping[str, str]) -> Iterator[Finding]:
    """Which engine is selected, whether it runs, and which CPU features it does not use."""
    home = home_folder(env)
    try:
        engine = resolve_engine(_settings(env), home, env).engine
        if engine.server_path is not None:
            yield ok("engine", f"{engine.name}: {engine.server_path}")
            return
        features = read_features(engine.package_folder)
    except UnknownEngineError as exc:
        yield fail("engine", str(exc), exc.hint or f"{PROGRAM} engine list")
        return
    except EngineSetupError as exc:
        yield fail("engine", str(exc), f"reinstall {PROGRAM}, or run {PROGRAM} engine build")
        return
    missing = missing_features(_cpu_flags(), features)
    if not missing:
        yield ok("engine", f"{engine.name}, uses every CPU feature that it supports")
        return
    advice = f"for faster prompt processing, build it for this CPU (ten minutes on two cores): {PROGRAM} engine build"
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        advice += "; this needs a C++ compiler: apt install g++"
    yield warn("engine", f"{engine.name}, not using: {' '.join(missing)}", advice)


def missing_features(cpu_flags: set[str], engine_features: str) -> list[str]:
    """Features that the CPU has and the engine was not built for, by the engine's names."""
    used = {
        entry.partition("=")[0].strip().rpartition(":")[2].strip()
        for entry in engine_features.split("|")
        if entry.partition("=")[2].strip() not in ("", "0")
    }
    return [name for flag, name in _FEATURES if flag in cpu_flags and name not in used]


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return set(line.partition(":")[2].split())


def check_proxies(env: Mapping[str, str], registry_url: str) -> Iterator[Finding]:
    """Which proxy downloads use, and whether one would get requests meant for this machine."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    present = [name for lower in names for name in (lower, lower.upper()) if env.get(name)]
    if not present:
        yield ok("proxies", "none")
        return
    try:
        proxy = proxy_for(registry_url)
    except CorralError as exc:
        yield fail("proxies", str(exc), exc.hint)
        return
    route = f"through {without_userinfo(proxy)}" if proxy else "directly"
    yield ok("proxies", f"{', '.join(present)} set; downloads go {route}")
    exceptions = {
        entry.strip().lower() for entry in (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",")
    }
    if not exceptions & {"*"} and not {"localhost", "127.0.0.1"} <= exceptions:
        yield warn(
            "proxies",
            f"programs other than {PROGRAM} (curl, client libraries) may send requests for localhost to the proxy",
            "export no_proxy=localhost,127.0.0.1,::1",
        )


def check_configuration(env: Mapping[str, str]) -> Iterator[Finding]:
    """The configuration files, if there are any."""
    try:
        found = read_config(env)
    except ConfigFileError as exc:
        for problem in exc.problems:
            yield fail("config", str(problem), f"{PROGRAM} serve does not start with it: correct the file")
        return
    for warning in found.warnings:
        yield warn("config", *warning.split(": ", 1))
    if found.paths and not found.warnings:
        yield ok("config", f"{', '.join(map(str, found.paths))}: valid")


def check_environment(env: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that are unknown or invalid."""
    clients = {name for name, _, _ in CLIENT_VARIABLES}
    try:
        warnings = Settings.from_env(env).warnings
    except CorralError as exc:
        yield fail("variables", str(exc), exc.hint)
        return
    doubts = [text for text in warnings if text.partition(" ")[0] not in clients]
    for text in doubts:
        yield warn("variables", text, f"correct or unset it; {PROGRAM} serve --help lists the settings")
    if not doubts:
        yield ok("variables", "all OLLAMA_* and CORRAL_* variables in this shell are recognised")
