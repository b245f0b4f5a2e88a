"""Prompts that the engine has computed, kept on disk after a model is unloaded.

    FOLDER/<16 hex>-<16 hex>/<16 hex>.state    what llama-server saved of a slot
    FOLDER/<16 hex>-<16 hex>/<16 hex>.json     the prompt that it begins with, and how many tokens it holds

The first name begins like the digest of the weights. It stands for all that a state depends on: the engine, the
model's files, the context, the types of the cache. A state is used when a prompt begins like it. What the engine then
reports as reused is checked, and a state that was of no use is removed. All of it can be deleted at any time. Nobody
else may read the folder: it holds what users wrote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral.digest import Digest
from corral.disk import make_folders, sync_file, write_atomically

_log = logging.getLogger("corral.prompts")
_MAX_QUOTA_BYTES = 4 << 30
_FREE_SHARE = 20  # by default at most this part of what is free on the disk
# A state that fills much of the quota would drive all others out.
_LARGEST_SHARE = 2
_MAX_STATES = 1000
_UNFINISHED_NS = 60_000_000_000
_FOLDER = re.compile("[0-9a-f]{16}-[0-9a-f]{16}")
_DIGEST = re.compile("[0-9a-f]{64}")
_MAX_NOTE_BYTES = 64 << 20
# What a state depends on, of all that an engine is started with.
_PARTS = (
    "model",
    "adapters",
    "num_ctx",
    "kv_cache_type",
    "flash_attention",
    "context_shift",
    "num_gpu",
    "main_gpu",
)

# Text, or token ids.
Prompt = str | list[int]


@dataclass(frozen=True, slots=True)
class SavedPrompt:
    """One state. `token_count` is what the engine saved: the prompt, and the answer after it."""

    path: Path
    prompt: Prompt
    token_count: int

    @property
    def note_path(self) -> Path:
        return self.path.with_suffix(".json")


def shared_length(first: Prompt, second: Prompt) -> int:
    """How many letters or tokens two prompts begin alike."""
    if isinstance(first, str) != isinstance(second, str):
        return 0
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class PromptStates:
    """The states of all models. Blocks on the disk; call it in threads. `quota_mib` None: automatic, 0: off."""

    def __init__(self, folder: Path, quota_mib: int | None) -> None:
        self._folder = folder
        self._quota_mib = quota_mib

    def folder_of(
        self, order: Mapping[str, Any], engine: str, engine_files: Sequence[Path] = ()
    ) -> Path | None:
        """Where the states of a runner lie; made if it does not exist. None: they are off, or it cannot be made.

        `order`: what the engine is started with; `engine`: its name and version, `engine_files`: what it is if that
        has no version.
        """
        if self._quota_mib == 0 or order["embedding"] or order["projector"] or _has_second_state(order):
            return None
        parts = {name: order.get(name) for name in _PARTS}
        try:
            stamps = [
                (info.st_size, info.st_mtime_ns)
                for path in (order["model"], *order["adapters"], *engine_files)
                for info in (Path(path).stat(),)
            ]
            text = json.dumps([engine, parts, stamps], sort_keys=True)
            name = f"{_weights_id(order['model'])}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
            folder = self._folder / name
            make_folders(self._folder, mode=0o700)
            make_folders(folder, mode=0o700)
        except OSError as exc:
            _log.debug("prompts are not kept on disk: %s", exc)
            return None
        return folder

    def saved(self, folder: Path) -> list[SavedPrompt]:
        """The states of a runner, those used last first. What is not whole counts as absent."""
        found = []
        for path in _newest_first(folder):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                note = path.with_suffix(".json")
                if note.stat().st_size > _MAX_NOTE_BYTES:
                    continue
                value = json.loads(note.read_text(encoding="utf-8"))
                prompt, count = value["prompt"], int(value["tokens"])
                if isinstance(prompt, str) or all(isinstance(token, int) for token in prompt):
                    found.append(SavedPrompt(path, prompt, count))
        return found

    def new_path(self, folder: Path) -> Path:
        """The place of a new state; the engine writes it. Raises OSError."""
        make_folders(folder, mode=0o700)  # an empty one may have been swept
        return folder / f"{secrets.token_hex(8)}.state"

    def keep(self, path: Path, prompt: Prompt, token_count: int) -> None:
        """Note a state that the engine has written; states that it continues go, and the oldest beyond the quota."""
        path.chmod(0o600)
        # The note makes a state valid: after a power cut there must not be a note of a state that is not there.
        sync_file(path)
        note = json.dumps({"prompt": prompt, "tokens": token_count})
        write_atomically(path.with_suffix(".json"), note.encode(), mode=0o600)
        for other in self.saved(path.parent):
            if other.path != path and shared_length(other.prompt, prompt) == len(other.prompt):
                self.forget(other)
        self.sweep()

    def touch(self, state: SavedPrompt) -> None:
        """It was used: it goes after those that were not."""
        with contextlib.suppress(OSError):
            os.utime(state.path)

    def forget(self, state: SavedPrompt) -> None:
        for path in (state.note_path, state.path):
            with contextlib.suppress(OSError):
                path.unlink()

    def has_room(self, needed_bytes: int) -> bool:
        """Whether a state of this size is worth writing."""
        return needed_bytes <= min(self._quota_bytes() // _LARGEST_SHARE, self._free_bytes() // 2)

    def delete(self, digest: Digest) -> None:
        """Remove the states of weights that are deleted."""
        for folder in _folders(self._folder):
            if folder.name.startswith(digest.hex[:16].lower()):
                shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, used: Collection[Digest] | None = None) -> None:
        """Remove the states used longest ago beyond the quota, notes and states without their other half, notes that
        a crash left half-written, and, where `used` is given, the states of other weights than those."""
        if used is not None:
            starts = {digest.hex[:16].lower() for digest in used}
            for folder in _folders(self._folder):
                if folder.name[:16] not in starts:
                    shutil.rmtree(folder, ignore_errors=True)
        left = self._quota_bytes()
        states = sorted(
            (path for folder in _folders(self._folder) for path in _newest_first(folder)),
            key=_used_ns,
            reverse=True,
        )
        for number, path in enumerate(states):
            try:
                left -= path.stat().st_size
            except OSError:
                continue
            is_whole = path.with_suffix(".json").exists() or _may_be_in_use(path)
            if left < 0 or number >= _MAX_STATES or not is_whole:
                self.forget(SavedPrompt(path, "", 0))
        for folder in _folders(self._folder):
            for note in folder.glob("*.json"):
                if not note.with_suffix(".state").exists():
                    note.unlink(missing_ok=True)
            for unfinished in folder.glob(".*.json.*"):
                if not _may_be_in_use(unfinished):
                    unfinished.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()  # if it is empty

    def _quota_bytes(self) -> int:
        if self._quota_mib is not None:
            return self._quota_mib << 20
        used_bytes = sum(_size(path) for folder in _folders(self._folder) for path in folder.glob("*.state"))
        return min(_MAX_QUOTA_BYTES, (self._free_bytes() + used_bytes) // _FREE_SHARE)

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            return 0


def _has_second_state(order: Mapping[str, Any]) -> bool:
    """Whether a draft model or a head has a state of its own beside that of the model."""
    speculation = order.get("speculation")
    return bool(order["draft"]) or (speculation is not None and speculation["kind"] != "ngram-simple")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # another server has removed it


def _weights_id(path: str) -> str:
    match = _DIGEST.search(Path(path).name)
    return match[0][:16] if match else hashlib.sha256(path.encode()).hexdigest()[:16]


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (path for path in folder.iterdir() if _FOLDER.fullmatch(path.name) and path.is_dir())


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.state"), key=_used_ns, reverse=True)


def _may_be_in_use(path: Path) -> bool:
    """Whether a file without its other half is young enough that somebody may still be writing it."""
    return time.time_ns() - _used_ns(path) < _UNFINISHED_NS


def _used_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
