"""Files that Corral writes for its users and itself: configurations, keys, choices, histories, notes."""

from __future__ import annotations

import asyncio
import json
import ssl
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from corral.access.clusterkey import ClusterKeyError, read_cluster_key, write_cluster_key
from corral.access.spent import Spent
from corral.cli.agents.foreign_settings import ForeignSettings
from corral.cli.conversation.prompt import HistoryFile
from corral.cli.tools.configimporting import _write
from corral.cluster.demand import DemandFile, HourlyDemand
from corral.cluster.ray.record import NodeRecord
from corral.configfile.editing import write_engine
from corral.errors import CorralError
from corral.operations.selfsigned import self_signed
from corral.registry.key import Identity, ensure_key
from corral.runner.engines.choice import chosen_name, use_engine
from tests.crashplans.workload import Step, Workload

_MINE = "# written by hand\n[server]\nport = 1\n"


def _ready(_root: Path) -> None:
    """A start has nothing to do for a file that is read when it is needed."""


def _home(root: Path) -> Path:
    return root / "home"


# The configuration file


def _config(root: Path) -> Path:
    return _home(root) / "corral.toml"


def _hand_written(root: Path) -> None:
    _home(root).mkdir()
    _config(root).write_text(_MINE)


def _engine(number: int) -> Step:
    return Step(f"threads {number}", lambda root: write_engine(_config(root), "m", {"threads": number}))


def _verify_config(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    text = _config(root).read_text()
    if not text.startswith(_MINE):
        yield f"what was written by hand is gone: {text!r}"
    found = tomllib.loads(text).get("models", {}).get("m", {}).get("engine", {}).get("threads")
    known = [n for n in (1, 2) if f"threads {n}" in answers]
    allowed = {known[-1] if known else None} | {n for n in (1, 2) if doubtful == f"threads {n}"}
    if found not in allowed:
        yield f"threads is {found}, not one of {allowed}"


# A new configuration, as `corral config import` writes it


def _import(root: Path) -> None:
    try:
        _write(_config(root), _MINE, may_replace=False)
    except CorralError:
        if not _config(root).exists():  # else it was written before it could be said
            raise


def _verify_import(root: Path, answers: Mapping[str, Any], _doubtful: str) -> Iterator[str]:
    if _config(root).exists() and _config(root).read_text() != _MINE:
        yield "the new configuration is there in part"
    if "import" in answers and not _config(root).exists():
        yield "the new configuration is gone"


# The choice of an engine


def _engine_choice(name: str) -> Step:
    return Step(f"use {name}", lambda root: use_engine(name, _home(root)).name)


def _verify_choice(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    path = _home(root) / "engine"
    found = path.read_text() if path.exists() else ""
    order = ["use /bin/true", "use builtin"]
    done = [name for name in order if name in answers]
    allowed = {done[-1] if done else ""} | ({doubtful} if doubtful in order else set())
    texts = {"": "", "use builtin": "builtin\n", "use /bin/true": "/bin/true\n"}
    if found not in {texts[name] for name in allowed}:
        yield f"the engine is {found!r}, not one of {allowed}"
    chosen_name(_home(root))


# Keys of this machine and of its cluster


def _machine_key(root: Path) -> str:
    ensure_key(_home(root) / "id_ed25519")
    return Identity.load(_home(root) / "id_ed25519").public_part()


def _verify_machine_key(root: Path, answers: Mapping[str, Any], _doubtful: str) -> Iterator[str]:
    path = _home(root) / "id_ed25519"
    if path.exists():
        part = Identity.load(path).public_part()
        if part != answers.get("key", part):
            yield "the key is another one than it was"
        if path.stat().st_mode & 0o77:
            yield "others may read the key"
        if "key" in answers and part not in path.with_name("id_ed25519.pub").read_text():
            yield "the public key is another's"
    elif "key" in answers:
        yield "the key is gone"


def _cluster_key(root: Path) -> str:
    path = _home(root) / "cluster.key"
    try:
        return write_cluster_key(path)
    except ClusterKeyError:
        return read_cluster_key(path).text


def _verify_cluster_key(root: Path, answers: Mapping[str, Any], _doubtful: str) -> Iterator[str]:
    path = _home(root) / "cluster.key"
    if path.exists() and read_cluster_key(path).text != answers.get("key", read_cluster_key(path).text):
        yield "the cluster key is another one"
    if "key" in answers and not path.exists():
        yield "the cluster key is gone"


# A certificate


def _certificate(*hosts: str) -> Step:
    def do(root: Path) -> None:
        self_signed(_home(root) / "tls", hosts)

    return Step(f"certificate for {len(hosts)}", do)


def _verify_certificate(root: Path, answers: Mapping[str, Any], _doubtful: str) -> Iterator[str]:
    # What a server does when it starts: it must be able to use the two.
    files = self_signed(_home(root) / "tls", ["a.example"] if "certificate for 1" in answers else [])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key)
    except ssl.SSLError as exc:
        yield f"key and certificate do not fit: {exc}"
    if files.key.stat().st_mode & 0o77:
        yield "others may read the key of the certificate"


# Settings of other programs


_FOREIGN = {"theme": "dark", "models": [{"id": "mine"}]}


def _settings(root: Path) -> ForeignSettings:
    return ForeignSettings(_home(root) / "agent" / "settings.json", _home(root) / "records", "agent")


def _agent(root: Path) -> None:
    path = _settings(root).path
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(_FOREIGN, indent=2))


def _set(value: str) -> Step:
    return Step(f"set {value}", lambda root: _settings(root).put_json([(("provider", "url"), value)]))


def _undo(root: Path) -> None:
    settings = _settings(root)
    if settings.has_record:
        settings.undo()


def _verify_settings(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    path = _settings(root).path
    found = json.loads(path.read_text())
    url = found.pop("provider", {}).get("url")
    if found != _FOREIGN:
        yield f"what the agent had is changed: {found}"
    order = ["set one", "set two", "undo"]
    texts = {"set one": "one", "set two": "two", "undo": None, "": None}
    done = [name for name in order if name in answers]
    allowed = {done[-1] if done else "", *([doubtful] if doubtful in order else [])}
    if url not in {texts[name] for name in allowed}:
        yield f"the address is {url!r} after {allowed}"
    if url is not None and not _settings(root).has_record:
        yield "the settings are changed, and nothing can undo it"
    if "undo" in answers and path.read_text() != json.dumps(_FOREIGN, indent=2):
        yield "the file is not what it was, to the byte"


# The history of the prompt


def _history(root: Path) -> HistoryFile:
    return HistoryFile(_home(root) / ".ollama" / "history", keeps=True)


def _typed_before(root: Path) -> None:
    path = _home(root) / ".ollama" / "history"
    path.parent.mkdir(parents=True)
    path.write_text("typed in ollama\n")


def _type(text: str) -> Step:
    return Step(f"type {text}", lambda root: _history(root).store_string(text))


def _verify_history(root: Path, answers: Mapping[str, Any], _doubtful: str) -> Iterator[str]:
    found = list(_history(root).load_history_strings())
    if "typed in ollama" not in found:
        yield "what was typed in Ollama is gone"
    # A prompt that cannot write warns and goes on: only those that could are asked for.
    if not set(found) <= {"typed in ollama", "a", "b"}:
        yield f"a line is there in part: {found}"


# Notes of the cluster and of limits


def _node(name: str) -> Step:
    def do(root: Path) -> None:
        NodeRecord(_home(root) / "cluster", name, "10.0.0.1", 11434, "10.0.0.1:6379").write()

    return Step(f"node {name}", do)


def _verify_node(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    if not (_home(root) / "cluster" / "node.json").exists():
        if answers:
            yield "the record is gone"
        return
    name = f"node {NodeRecord.read(_home(root) / 'cluster').name}"
    if name not in {list(answers)[-1] if answers else "", doubtful}:
        yield f"the record is that of {name}"


def _demand(number: int) -> Step:
    def do(root: Path) -> None:
        demand = HourlyDemand()
        for second in range(10):
            demand.note({f"m{number}": 1}, 3600.0 + second)
        DemandFile(_home(root) / "cluster" / "demand.json").save(demand.encode(), 0.0)

    return Step(f"demand {number}", do)


def _spend(number: int) -> Step:
    def do(root: Path) -> None:
        async def spend() -> None:
            spent = Spent(_home(root) / "spent.json")
            spent.load()
            spent.note("k", 7, number)
            spent.close()

        asyncio.run(spend())

    return Step(f"spend {number}", do)


def _verify_notes(root: Path, answers: Mapping[str, Any], doubtful: str) -> Iterator[str]:
    """They may be old, and never in part."""
    for name in ("cluster/demand.json", "spent.json"):
        path = _home(root) / name
        if path.exists():
            json.loads(path.read_text())
    spent = Spent(_home(root) / "spent.json")
    spent.load()
    if spent.of("k", 7) not in (0, 1, 2):
        yield f"{spent.of('k', 7)} was never spent"


def _workload(
    name: str,
    steps: tuple[Step, ...],
    verify: Callable[[Path, Mapping[str, Any], str], Iterator[str]],
    prepare: Callable[[Path], None] = _ready,
) -> Workload:
    return Workload(name, prepare, steps, _ready, verify)


def _make_home(root: Path) -> None:
    _home(root).mkdir()


WORKLOADS: tuple[Workload, ...] = (
    _workload("config", (_engine(1), _engine(2)), _verify_config, _hand_written),
    _workload("config-import", (Step("import", _import),), _verify_import, _make_home),
    _workload("engine-choice", (_engine_choice("/bin/true"), _engine_choice("builtin")), _verify_choice),
    _workload("machine-key", (Step("key", _machine_key),), _verify_machine_key),
    _workload("cluster-key", (Step("key", _cluster_key),), _verify_cluster_key),
    _workload("certificate", (_certificate(), _certificate("a.example")), _verify_certificate),
    _workload("agent-settings", (_set("one"), _set("two"), Step("undo", _undo)), _verify_settings, _agent),
    _workload("history", (_type("a"), _type("b")), _verify_history, _typed_before),
    _workload("node-record", (_node("a"), _node("b")), _verify_node),
    _workload("notes", (_demand(1), _spend(1), _demand(2), _spend(2)), _verify_notes),
)
