"""What holds for each setting, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from corral.configfile import kinds
from corral.configfile.problems import shown_key
from corral.configfile.reading import FileConfig
from corral.configfile.writing import toml_header, toml_value
from corral.hostaddress import strip_setting
from corral.settingstable import SETTINGS, Setting
from corral.settingvalues import FALSE, UnreadableError
from corral.urlsecrets import without_userinfo

DEFAULT = "default"
_HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting. `text` is its value as the variable would have it, empty for no value."""

    setting: Setting
    text: str
    origin: str

    @property
    def value(self) -> Any:
        """The value as the file would have it, but without the passwords of URLs."""
        return _masked(_toml(self.setting, self.text))

    @property
    def is_masked(self) -> bool:
        """Whether a password is missing from the value."""
        return bool(self.value != _toml(self.setting, self.text))


def effective_settings(
    env: Mapping[str, str], config: FileConfig, flags: Mapping[str, str]
) -> Iterator[Effective]:
    """Every setting in the order of the table. `flags` has the flag that set a variable, by its name."""
    for setting in SETTINGS:
        text = strip_setting(env.get(setting.name, ""))
        if text and _is_readable(setting, text):
            origin = flags.get(setting.name) or f"environment {setting.name}"
            yield Effective(setting, text, origin)
        elif below := config.texts.get(setting.name, ""):
            yield Effective(setting, below, str(config.sources[setting.name]))
        else:
            yield Effective(setting, setting.shown, DEFAULT)


def shown_config(
    env: Mapping[str, str], config: FileConfig, flags: Mapping[str, str], *, with_origin: bool
) -> str:
    """All of it as a configuration file. Secrets are left out, and defaults are comments."""
    by_section: dict[str, list[Effective]] = {}
    for found in effective_settings(env, config, flags):
        by_section.setdefault(found.setting.path.partition(".")[0], []).append(found)
    blocks = []
    for section, members in by_section.items():
        lines = [_line(found, with_origin=with_origin) for found in members]
        blocks.append("\n".join([toml_header(section), *lines]))
    return "\n\n".join([*blocks, *_sections(config)])


def _line(found: Effective, *, with_origin: bool) -> str:
    key = found.setting.path.partition(".")[2]
    text = f"{key} = {toml_value(found.value)}"
    if found.setting.is_secret and found.text:
        text = f'# {key} = "{_HIDDEN}"'
    elif not found.text and not isinstance(found.value, list):
        text = f'# {key} = ""'
    elif found.origin == DEFAULT or found.is_masked:
        text = f"# {text}"
    return f"{text}  # {found.origin}" if with_origin else text


def _sections(config: FileConfig) -> Iterator[str]:
    """The other sections as they were read, in their order."""
    for keys, table in config.tables.items():
        lines = [f"{shown_key(key)} = {toml_value(value)}" for key, value in table.items()]
        yield "\n".join([toml_header(*keys), *lines])


def _is_readable(setting: Setting, text: str) -> bool:
    try:
        setting.read(text)
    except UnreadableError:
        return False
    return True


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [without_userinfo(entry) for entry in value]
    return without_userinfo(value) if isinstance(value, str) else value


def _toml(setting: Setting, text: str) -> Any:
    kind = kinds.kind_of(setting.read)
    if kind is kinds.STRINGS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if text.isascii() and text.isdigit() and int in kind.types and str(int(text)) == text:
        return int(text)
    if bool in kind.types and text != "auto":
        if setting.read.__name__ == "log_level":
            return _log_level(text)
        return text.lower() not in (*FALSE, "off", "disabled")
    return text


def _log_level(text: str) -> bool | int:
    if text.lstrip("-").isdigit():
        return int(text)
    return text not in (*FALSE, "INFO")
