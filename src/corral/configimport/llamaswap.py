"""llama-swap's configuration (version 238): models that are commands, with names, times and filters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corral.configimport.commandline import CommandError, ServerCommand, server_command
from corral.configimport.filters import read_filters
from corral.configimport.groups import add_groups, note_matrix
from corral.configimport.imported import Imported, ImportedModel, ImportFileError
from corral.configimport.macros import MacroError, Macros, macro_texts
from corral.configimport.modelnames import ModelNames, drop_taken_aliases
from corral.configimport.optiontable import read_words
from corral.configimport.serveroptions import ServerOptions, relative_to
from corral.configimport.yamltext import read_yaml

_MAX_SECONDS = 10 * 365 * 86400
# Members of the file without a counterpart. An empty reason: it is about llama-swap's own processes and pages.
_FILE_NOTES: Mapping[str, str] = {
    "startPort": "",
    "logToStdout": "",
    "logTimeFormat": "",
    "metricsMaxInMemory": "",
    "unloadTimeout": "",
    "upstream": "",
    "ui": "",
    "performance": "",
    "captureBuffer": "requests are not kept; log.requests saves their bodies",
    "store": "acts are in the audit log, usage in the metrics",
    "sendLoadingState": "progress of a load is a comment of the stream, not thinking",
    "includeAliasesInList": "lists show models, and no aliases",
    "profiles": "aliases are the same for all; change [aliases], which takes effect at once",
    "peers": "Corral does not pass requests on to other servers",
}
_MODEL_NOTES: Mapping[str, str] = {
    "proxy": "",
    "checkEndpoint": "",
    "cmdStop": "",
    "unloadTimeout": "",
    "useModelName": "",
    "name": "lists show models by their names",
    "description": "models do not have descriptions",
    "metadata": "models do not have metadata",
    "capabilities": "what a model can do is read from its file",
    "unlisted": "lists show all models that a key may use",
    "concurrencyLimit": "further requests wait their turn, and are not refused; see max_parallel of a key",
    "sendLoadingState": "progress of a load is a comment of the stream, not thinking",
    "timeouts": "see scheduler.load_timeout and limits.client_timeout",
}
_READ = frozenset({"cmd", "aliases", "ttl", "env", "filters", "macros"})
_FILE_READ = frozenset(
    {
        "models",
        "groups",
        "matrix",
        "hooks",
        "macros",
        "globalTTL",
        "healthCheckTimeout",
        "logLevel",
        "apiKeys",
    }
)


def read_llama_swap(text: str, folder: Path, env: Mapping[str, str]) -> Imported:
    """Paths are relative to `folder`; `env` is for `${env.NAME}`.

    Raises:
        ImportFileError
    """
    content = read_yaml(text)
    if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
        raise ImportFileError("it does not have models, as a configuration of llama-swap has")
    return _Reader(content, folder, env).read()


class _Reader:
    def __init__(self, content: dict[str, Any], folder: Path, env: Mapping[str, str]) -> None:
        self._content = content
        self._path = relative_to(folder)
        self._macros = Macros(macro_texts(content.get("macros")), env)
        self._names = ModelNames()
        self._found = Imported("llama-swap's configuration")
        # The names here of the models that were understood, by their ids there.
        self._by_id: dict[str, str] = {}

    def read(self) -> Imported:
        content, found = self._content, self._found
        self._read_settings()
        for asked, member in content["models"].items():
            self._read_model(asked, member)
        drop_taken_aliases(found.models)
        add_groups(found, content.get("groups"), self._by_id)
        note_matrix(found, content.get("matrix"))
        self._read_preload(content.get("hooks"))
        return found

    def _read_settings(self) -> None:
        content, found = self._content, self._found
        seconds = _seconds(content.get("globalTTL", 0))
        if seconds is None:
            found.notes.append("globalTTL: whole seconds were expected")
        found.set("scheduler.keep_alive", f"{seconds}s" if seconds else "-1")
        if "healthCheckTimeout" in content:
            seconds = _seconds(content["healthCheckTimeout"])
            if seconds is None:
                found.notes.append("healthCheckTimeout: whole seconds were expected")
            else:
                found.set("scheduler.load_timeout", f"{max(seconds, 15)}s")
        level = content.get("logLevel", "info")
        if level == "debug":
            found.set("log.debug", True)
        elif level in ("warn", "error"):
            found.set("log.debug", -1)
        if content.get("apiKeys"):
            found.set("auth.mode", "on")
            found.notes.append(
                "apiKeys: keys are not taken over; make one for each program: corral key create NAME"
            )
        self._note_members(content, _FILE_NOTES, _FILE_READ, found.notes)

    @staticmethod
    def _note_members(
        content: Mapping[str, Any], notes: Mapping[str, str], known: frozenset[str], found: list[str]
    ) -> None:
        for name, value in content.items():
            if name not in notes and name not in known:
                found.append(f"{name}: it is not known")
            elif notes.get(name) and value not in (None, "", 0, False, [], {}):
                found.append(f"{name}: {notes[name]}")

    def _read_model(self, asked: str, member: object) -> None:
        try:
            if not isinstance(member, dict):
                raise CommandError("it is not a mapping")
            macros = self._macros.under(member.get("macros"), asked)
            command = server_command(macros.expand(str(member.get("cmd") or "")))
            model = self._model(asked, member, macros, command)
        except (CommandError, MacroError) as exc:
            self._found.left_out.append((asked, str(exc)))
            return
        self._by_id[asked] = model.name
        self._found.models.append(model)
        self._found.models += read_filters(model, macros.expand_all(member.get("filters")), self._names)

    def _model(
        self, asked: str, member: Mapping[str, Any], macros: Macros, command: ServerCommand
    ) -> ImportedModel:
        """Raises CommandError, MacroError."""
        model = ImportedModel("", asked)
        options = ServerOptions(model, lambda text: self._path(command.path(text)))
        ttl = member.get("ttl", -1)
        seconds = _seconds(ttl)
        if seconds is not None:
            model.values["keep_alive"] = f"{seconds}s" if seconds else "-1"
        elif ttl not in (-1, None):
            model.note("ttl: whole seconds were expected")
        read_words(options, command.words)
        options.finish()
        if not model.directives:
            raise CommandError("its command names no model file (-m) and no repository (-hf)")
        aliases = member.get("aliases")
        for alias in aliases if isinstance(aliases, list) else []:
            alias = alias.get("id") if isinstance(alias, dict) else alias
            if isinstance(alias, str | int | float) and not isinstance(alias, bool):
                model.aliases.append(macros.expand(str(alias)))
        declared = member.get("env")
        for variable in (*(declared if isinstance(declared, list) else ()), *command.variables):
            _read_variable(model, macros.expand(str(variable)))
        self._note_members(member, _MODEL_NOTES, _READ, model.notes)
        model.name = self._names.name_for(asked)
        if model.name != asked:
            model.aliases.insert(0, asked)
        return model

    def _read_preload(self, hooks: object) -> None:
        start = hooks.get("on_startup") if isinstance(hooks, dict) else None
        wanted = start.get("preload") if isinstance(start, dict) else None
        names = []
        for asked in map(str, wanted if isinstance(wanted, list) else []):
            if asked in self._by_id:
                names.append(self._by_id[asked])
            else:
                self._found.notes.append(f"preload: {asked} is not a model of the file, or was left out")
        if names:
            self._found.set("scheduler.preload", list(dict.fromkeys(names)))


def _seconds(value: object) -> int | None:
    """Whole seconds from 0 on; None for anything else, as -1 for what holds everywhere."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return min(value, _MAX_SECONDS)


def _read_variable(model: ImportedModel, text: str) -> None:
    """A variable for the engine. Its value may be a secret, so it is not repeated."""
    name, _, value = text.partition("=")
    if name == "CUDA_VISIBLE_DEVICES" and value.isascii() and value.isdigit() and len(value) < 4:
        model.values.setdefault("device", f"gpu{value}")
    else:
        model.note(f"env {name}: set it for corral serve, and name it in engine.env; it holds for all models")
