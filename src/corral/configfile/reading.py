"""Reads the configuration files: the machine's, the user's, and the one that `CORRAL_CONFIG` names.

A later file wins. Whatever is wrong (an unknown key, a value that cannot be read) is an error with its line: a
setting that is silently ignored is worse than a server that does not start.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corral.configfile.environment import with_environment
from corral.configfile.groups import read_groups, united
from corral.configfile.kinds import kind_of
from corral.configfile.locate import Keys, lines_of_keys
from corral.configfile.modelsections import SectionReader
from corral.configfile.problems import ConfigFileError, Problem, Reporter
from corral.configfile.sections import NO_SECTIONS, Group, ModelSection, Sections
from corral.homefolder import home_folder
from corral.hostaddress import host_problem
from corral.settingstable import SETTINGS, Setting
from corral.settingvalues import UnreadableError

SYSTEM_FILE = Path("/etc/corral/config.toml")
_MAX_BYTES = 4 << 20
_BY_PATH = {setting.path: setting for setting in SETTINGS}
_SECTIONS = frozenset(setting.path.partition(".")[0] for setting in SETTINGS)
# Sections that are not made of settings.
OTHER_SECTIONS = ("models", "groups", "aliases")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value stands."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class FileConfig:
    """What the files say. `texts`, by the names of settings, has each value as the variable would have it."""

    paths: tuple[Path, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    sections: Sections = NO_SECTIONS
    # The tables of the other sections as they were written, by their names.
    tables: Mapping[Keys, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


NO_FILES = FileConfig()


def config_paths(env: Mapping[str, str], system: Path = SYSTEM_FILE) -> list[Path]:
    """The files that are looked for, the weakest first, whether they exist or not."""
    found = [system, home_folder(env) / "config.toml"]
    if named := env.get("CORRAL_CONFIG", "").strip():
        found.append(Path(named).expanduser())
    return found


def read_config(env: Mapping[str, str], system: Path = SYSTEM_FILE) -> FileConfig:
    """Read the files that exist; the one that `CORRAL_CONFIG` names has to.

    Raises:
        ConfigFileError: with every problem of all files.
    """
    files = config_paths(env, system)
    readers: list[_FileReader] = []
    problems: list[Problem] = []
    for i, path in enumerate(files):
        text = _text_of(path, problems, must_exist=i == 2)
        if text is not None:
            reader = _FileReader(path, text, env)
            readers.append(reader)
            problems += reader.problems
    if problems:
        raise ConfigFileError(problems)
    return _merged(readers)


def problems_of(path: Path, text: str, env: Mapping[str, str]) -> list[Problem]:
    """What would be wrong with a file of this text, in this place."""
    return _FileReader(path, text, env).problems


def _text_of(path: Path, problems: list[Problem], *, must_exist: bool) -> str | None:
    try:
        if not must_exist and not path.exists():
            return None
        data = path.read_bytes()
    except OSError as exc:
        problems.append(Problem(path, 0, (exc.strerror or type(exc).__name__).lower()))
        return None
    if len(data) > _MAX_BYTES:
        problems.append(Problem(path, 0, f"larger than {_MAX_BYTES >> 20} MiB"))
        return None
    try:
        return data.decode().removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        problems.append(Problem(path, line, "not UTF-8"))
        return None


def _merged(readers: Sequence[_FileReader]) -> FileConfig:
    texts: dict[str, str] = {}
    sources: dict[str, Source] = {}
    models: list[ModelSection] = []
    aliases: dict[str, str] = {}
    tables: dict[Keys, dict[str, Any]] = {}
    warnings = []
    for reader in readers:
        for keys, table in reader.tables:
            tables[keys] = _together(tables.get(keys, {}), table)
        texts |= reader.texts
        sources |= reader.sources
        models += reader.models
        aliases |= reader.aliases
        if warning := _permission_warning(reader.path):
            warnings.append(warning)
    for section in models:
        if section.is_exact:
            aliases |= {alias.lower(): section.pattern for alias in section.aliases}
    groups = united([reader.groups for reader in readers], aliases)
    sections = Sections(tuple(models), aliases, groups)
    paths = tuple(reader.path for reader in readers)
    return FileConfig(paths, texts, sources, sections, tables, tuple(warnings))


def _together(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A table over another: tables and lists in them are united."""
    found = dict(below)
    for key, value in above.items():
        other = found.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            value = _together(other, value)
        elif isinstance(value, list) and isinstance(other, list):
            value = [*other, *(entry for entry in value if entry not in other)]
        found[key] = value
    return found


def _permission_warning(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if mode & stat.S_IWOTH:
        return f"{path} can be changed by every user of this machine: chmod o-w {path}"
    return ""


class _FileReader:
    """The content of one file, with its problems."""

    def __init__(self, path: Path, text: str, env: Mapping[str, str]) -> None:
        self.path = path
        self.texts: dict[str, str] = {}
        self.sources: dict[str, Source] = {}
        self.models: list[ModelSection] = []
        self.aliases: dict[str, str] = {}
        self.groups: dict[str, Group] = {}
        self.tables: list[tuple[Keys, dict[str, Any]]] = []
        try:
            tables = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as exc:
            self.problems = [_syntax_problem(path, text, exc)]
            return
        self._reporter = Reporter(path, lines_of_keys(text))
        self.problems = self._reporter.problems
        self._read(with_environment(tables, (), env, self._reporter))

    def _read(self, tables: dict[str, Any]) -> None:
        sections = SectionReader(self._reporter)
        for name, table in tables.items():
            if name == "models":
                self.models = sections.models(table)
            elif name == "aliases":
                self.aliases = sections.aliases(table)
            elif name == "groups":
                self.groups = read_groups(table, self._reporter)
            elif name not in _SECTIONS:
                self._report_unknown_section(name)
            elif not isinstance(table, dict):
                self._reporter.report((name,), f"{name} is a section: write [{name}] on a line of its own")
            else:
                self._settings(name, table)
        self.tables = _other_tables(tables)
        for section in self.models:
            if section.aliases and not section.is_exact:
                keys = ("models", section.pattern, "aliases")
                self._reporter.report(keys, "aliases need the name of one model, not a pattern")

    def _report_unknown_section(self, name: str) -> None:
        # A key outside any section is often one whose section was forgotten.
        owners = [path for path in _BY_PATH if path.endswith(f".{name}")]
        if owners:
            self._reporter.report((name,), f"unknown key {name}; did you mean {owners[0]}?")
        else:
            self._reporter.report_unknown((name,), {*_SECTIONS, *OTHER_SECTIONS})

    def _settings(self, section: str, table: dict[str, Any]) -> None:
        known = {path.partition(".")[2] for path in _BY_PATH if path.startswith(f"{section}.")}
        for key, value in table.items():
            setting = _BY_PATH.get(f"{section}.{key}")
            if setting is not None:
                self._setting(setting, (section, key), value)
                continue
            owners = [path for path in _BY_PATH if path.endswith(f".{key}")]
            if owners:
                self._reporter.report(
                    (section, key), f"unknown key {section}.{key}; did you mean {owners[0]}?"
                )
            else:
                self._reporter.report_unknown((section, key), known, f"{section}.")

    def _setting(self, setting: Setting, keys: tuple[str, str], value: object) -> None:
        kind = kind_of(setting.read)
        try:
            text = kind.text(value)
            if text:
                setting.read(text)
        except UnreadableError:
            self._reporter.report(keys, f"{setting.path} must be {kind.expected}")
            return
        if setting.name in ("OLLAMA_HOST", "CORRAL_HOSTS", "CORRAL_METRICS_LISTEN"):
            found = [problem for address in text.split(",") if (problem := host_problem(address))]
            if found:
                self._reporter.report(keys, f"{setting.path}: {found[0]}")
                return
        if setting.read is Path and text:
            text = str(self.path.parent.absolute() / Path(text).expanduser())
        self.texts[setting.name] = text
        self.sources[setting.name] = Source(self.path, self._reporter.line_of(keys))


def _other_tables(tables: Mapping[str, Any]) -> list[tuple[Keys, dict[str, Any]]]:
    """The sections that are not made of settings, with their names."""
    found: list[tuple[Keys, dict[str, Any]]] = []
    for section in OTHER_SECTIONS:
        table = tables.get(section)
        if isinstance(table, dict):
            each = [((section, name), part) for name, part in table.items() if isinstance(part, dict)]
            found += each if section != "aliases" else [((section,), table)]
    return found


def _syntax_problem(path: Path, text: str, error: Exception) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(path, 0, "nested too deeply")
    message, _, place = str(error).rpartition(" (at ")
    message = message[:1].lower() + message[1:]
    words = place.replace(",", " ").replace(")", " ").split()
    if len(words) > 1 and words[0] == "line" and words[1].isdigit():
        return Problem(path, int(words[1]), message)
    return Problem(path, text.count("\n") + 1, message)
