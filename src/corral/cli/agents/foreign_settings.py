"""Changes to settings files of other programs, which can be undone.

Before a file is changed for the first time, its text is saved in a record below `~/.corral/launch`, with each value
that is about to be replaced. Undoing restores the file byte for byte if it was not changed since; otherwise it only
removes our values, and other changes stay. A file that cannot be parsed is never written.
"""

from __future__ import annotations

import hashlib
import json
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corral.disk import make_folders, write_atomically
from corral.errors import CorralError

# The path of a value, and the value. A step `id=x` is the list element whose member "id" is x; `name=x` likewise.
Change = tuple[tuple[str, ...], Any]
_BEGIN = "# >>> corral launch >>>\n"
_END = "# <<< corral launch <<<\n"
_ABSENT = object()


class SettingsError(CorralError):
    """A file that cannot be changed safely; it was not changed."""


class ForeignSettings:
    """One settings file. `records` is the folder of the records, `name` the program's name."""

    def __init__(self, path: Path, records: Path, name: str) -> None:
        # A symbolic link stays one: some people keep their settings in a repository.
        self.path = path.resolve()
        mark = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        self._record_path = records / f"{name}-{mark}.json"

    @property
    def has_record(self) -> bool:
        return self._record_path.is_file()

    def put_json(self, changes: Sequence[Change]) -> bool:
        """Set values in a JSON file; False if it already has them.

        Raises:
            SettingsError
        """
        text = self._read()
        is_list = _is_entry(changes[0][0][0])
        root = self._parse_json(text, is_list=is_list)
        record = self._load_record(text)
        known = {tuple(entry["keys"]): entry for entry in record.get("changes", ())}
        entries = []
        for keys, new in changes:
            old = _look_up(root, keys)
            before = known.pop(keys, None)
            if before is not None and old == before["new"]:
                entries.append({**before, "new": new})
            else:
                entries.append(
                    {
                        "keys": keys,
                        "had": old is not _ABSENT,
                        "old": None if old is _ABSENT else old,
                        "new": new,
                    }
                )
            self._put(root, keys, new)
        # Values that only an earlier call set stay in the record, so that they can be undone.
        entries += known.values()
        return self._save(text, _dump(root, text), record, {"changes": entries})

    def put_toml_table(self, keys: tuple[str, ...], lines: str) -> bool:
        """Put a table (its header and lines) at the end of a TOML file, replacing one put there before.

        Raises:
            SettingsError
        """
        text = self._read()
        rest = _without_block(text or "")
        before = self._parse_toml(rest)
        if _look_up(before, keys) is not _ABSENT:
            raise SettingsError(
                f"{self.path} already has a [{'.'.join(keys)}]; nothing was changed",
                hint="rename or remove it, and try again",
            )
        gap = "" if not rest or rest.endswith("\n\n") else "\n" if rest.endswith("\n") else "\n\n"
        new = f"{rest}{gap}{_BEGIN}{lines}{_END}"
        after = self._parse_toml(new)
        _delete(after, keys)
        _prune(after, keys[:-1], before)
        if after != before:
            raise SettingsError(f"{self.path} cannot be extended safely; nothing was changed", hint=lines)
        return self._save(text, new, self._load_record(text))

    def undo(self) -> None:
        """Undo all changes.

        Raises:
            SettingsError: nothing was changed, or the file can no longer be parsed.
        """
        if not self.has_record:
            raise SettingsError(f"{self.path} was never changed, so there is nothing to restore")
        text = self._read()
        record = self._load_record(text)
        # Without a record the file is as it was, or already restored.
        if text is not None and record and _hash(text) != _hash(record["original"] or ""):
            if record.get("is_exact") and _hash(text) == record["written"]:
                self._write(record["original"])
            elif "changes" in record:
                is_list = _is_entry(record["changes"][0]["keys"][0])
                root = self._parse_json(text, is_list=is_list)
                original = self._parse_json(record["original"], is_list=is_list)
                for entry in reversed(record["changes"]):
                    if _look_up(root, entry["keys"]) == entry["new"]:
                        if entry["had"]:
                            self._put(root, tuple(entry["keys"]), entry["old"])
                        else:
                            _delete(root, tuple(entry["keys"]))
                            _prune(root, tuple(entry["keys"])[:-1], original)
                self._write(_dump(root, text))
            else:
                self._write(_without_block(text))
        self._record_path.unlink()

    def _save(
        self, old: str | None, new: str, record: dict[str, Any], more: Mapping[str, Any] | None = None
    ) -> bool:
        """Write the record, then the file.

        After a kill between the two the file still has its old text, and the record before this one holds.
        """
        if new == old:
            return False
        is_first = "written" not in record
        record = {
            **record,
            **(more or {}),
            "path": str(self.path),
            "original": old if is_first else record["original"],
            "is_exact": is_first
            or (record["is_exact"] and old is not None and _hash(old) == record["written"]),
            "written": _hash(new),
            "replaced": _hash(old or ""),
            "previous": {name: value for name, value in record.items() if name != "previous"},
        }
        make_folders(self._record_path.parent, mode=0o700)
        write_atomically(self._record_path, json.dumps(record, indent=1).encode(), mode=0o600)
        self._write(new)
        return True

    def _write(self, text: str | None) -> None:
        if text is None:
            self.path.unlink(missing_ok=True)
            return
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except FileNotFoundError:
            mode = 0o600
        write_atomically(self.path, text.encode(), mode=mode)

    def _read(self) -> str | None:
        try:
            return self.path.read_bytes().decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise SettingsError(f"{self.path} is not UTF-8 text; nothing was changed") from None

    def _load_record(self, text: str | None) -> dict[str, Any]:
        """What was done to the file, which has this text now; empty if nothing."""
        try:
            record: dict[str, Any] = json.loads(self._record_path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            raise SettingsError(
                f"{self._record_path} is damaged, so nothing was changed",
                hint="it holds the original settings; move it away after you have checked it",
            ) from None
        if record.get("replaced") == _hash(text or ""):
            found: dict[str, Any] = record["previous"]
            return found
        return record

    def _parse_json(self, text: str | None, *, is_list: bool) -> Any:
        try:
            root = json.loads(text) if text and text.strip() else [] if is_list else {}
        except (ValueError, RecursionError) as exc:
            raise SettingsError(
                f"{self.path} is not plain JSON ({exc}); nothing was changed",
                hint="files with comments have to be edited by hand",
            ) from None
        if not isinstance(root, list if is_list else dict):
            kind = "list" if is_list else "object"
            raise SettingsError(f"{self.path} is not a JSON {kind}; nothing was changed")
        return root

    def _parse_toml(self, text: str) -> dict[str, Any]:
        try:
            return tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as exc:
            raise SettingsError(f"{self.path}: {exc}; nothing was changed") from None

    def _put(self, root: Any, keys: tuple[str, ...], value: Any) -> None:
        node: Any = root
        for step, following in zip(keys, (*keys[1:], ""), strict=True):
            if _is_entry(step) and isinstance(node, list):
                index = _index(node, step)
                if index is None:
                    node.append(value)
                else:
                    node[index] = value
            elif not isinstance(node, dict) or _is_entry(step):
                raise SettingsError(f"{self.path}: {'.'.join(keys)} cannot be set; nothing was changed")
            elif not following:
                node[step] = value
            else:
                node = node.setdefault(step, [] if _is_entry(following) else {})


def _is_entry(step: str) -> bool:
    return step.startswith(("id=", "name="))


def _index(elements: list[Any], step: str) -> int | None:
    member, _, wanted = step.partition("=")
    return next((i for i, e in enumerate(elements) if isinstance(e, dict) and e.get(member) == wanted), None)


def _look_up(root: Any, keys: Sequence[str]) -> Any:
    for step in keys:
        if isinstance(root, list):
            index = _index(root, step)
            root = _ABSENT if index is None else root[index]
        else:
            root = root.get(step, _ABSENT) if isinstance(root, dict) else _ABSENT
    return root


def _delete(root: Any, keys: tuple[str, ...]) -> None:
    parent = _look_up(root, keys[:-1])
    if isinstance(parent, list):
        index = _index(parent, keys[-1])
        if index is not None:
            del parent[index]
    elif isinstance(parent, dict):
        parent.pop(keys[-1], None)


def _prune(root: Any, keys: tuple[str, ...], original: Any) -> None:
    """Remove containers along a path that are empty now and did not exist originally."""
    while keys and _look_up(root, keys) in ({}, []) and _look_up(original, keys) is _ABSENT:
        _delete(root, keys)
        keys = keys[:-1]


def _without_block(text: str) -> str:
    """The text without our block and the empty line before it."""
    head, mark, rest = text.partition(_BEGIN)
    if not mark:
        return text
    _, mark, tail = rest.partition(_END)
    if not mark:
        raise SettingsError(
            "the end mark of Corral's settings is missing; nothing was changed",
            hint=f"expected {_END.strip()!r}",
        )
    head = head[:-1] if head.endswith("\n\n") else head
    return head + tail


def _dump(root: Any, old: str | None) -> str:
    """JSON with the indentation of the old text."""
    lines = (old or "").split("\n")
    lead = next((line[: len(line) - len(line.lstrip())] for line in lines[1:] if line.strip("}] \t")), "  ")
    return json.dumps(root, indent=lead or "  ", ensure_ascii=False) + "\n"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
