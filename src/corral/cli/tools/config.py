"""`corral config`: what the configuration files say, where they are, and whether they are valid."""

from __future__ import annotations

import json
import os

from corral.cli.frame.flags import PROGRAM, Arguments, UsageError
from corral.config import Settings
from corral.configfile.effective import effective_settings, shown_config
from corral.configfile.problems import ConfigFileError
from corral.configfile.reading import config_paths, read_config
from corral.errors import CorralError

_ACTIONS = ("show", "check", "path", "schema", "import")


def config(arguments: Arguments) -> int:
    """Raises UsageError, CorralError."""
    action, *rest = arguments.words or ["show"]
    if action not in _ACTIONS:
        raise UsageError(f'unknown action "{action}", use one of {", ".join(_ACTIONS)}')
    if action == "import":
        from corral.cli.tools.configimporting import import_config

        return import_config(rest, arguments)
    if rest:
        raise UsageError(f"{action} takes no further arguments, received {len(rest)}")
    if action == "show":
        _show(arguments)
    elif action == "path":
        _print_paths()
    elif action == "schema":
        from corral.configfile.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
    else:
        return _check()
    return 0


def _show(arguments: Arguments) -> None:
    """What a server started from this shell would use."""
    found = read_config(os.environ)
    flags = {"OLLAMA_HOST": "flag --host"} if arguments.gave_host else {}
    if not arguments.has("json"):
        print(shown_config(os.environ, found, flags, with_origin=arguments.has("origin")))
        return
    values = {
        each.setting.path: {
            "value": None if each.setting.is_secret else each.value,
            "origin": each.origin,
            "variable": each.setting.name,
        }
        for each in effective_settings(os.environ, found, flags)
    }
    tables = [{"keys": keys, "table": table} for keys, table in found.tables.items()]
    print(json.dumps({"settings": values, "tables": tables}, indent=2))


def _print_paths() -> None:
    """The files in the order in which they are read; the later one wins."""
    for path in config_paths(os.environ):
        print(f"{path}{'' if path.exists() else '  (does not exist)'}")


def _check() -> int:
    """Every problem of every file, each on a line."""
    from corral.inference.sectioncheck import check_sections  # all of the engine's options

    try:
        settings = Settings.load()
        check_sections(settings.sections)
    except ConfigFileError as error:
        for problem in error.problems:
            print(problem)
        return 1
    except CorralError as error:
        print(error)
        return 1
    for warning in settings.warnings:
        print(f"warning: {warning}")
    files = ", ".join(map(str, settings.files))
    print(
        f"{files}: valid"
        if files
        else f"no configuration file exists; {PROGRAM} config path lists the places"
    )
    return 0
