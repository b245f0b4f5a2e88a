"""A disk that loses what was not synced: computed from the calls of a run, then written out as a folder.

The model, which is harsher than ext4, XFS and Btrfs:

- What a file holds is safe once the file was synced; until then it holds what it did at the last sync, or nothing.
- A name in a folder (made, renamed, linked, removed) is safe once that folder was synced. A folder that was made is
  there once its parent was synced.
- A rename of one name happens wholly or not at all. Modes and times are never lost by themselves.

What was not synced may survive in any combination. Five of them are played, at the corners of what file systems do:
nothing of it (`lost`), all names but no content (`names`: the empty file after a rename), all content but no names
(`content`), only that names were removed (`removed`), and only the names of the folder that was changed last
(`last`: a blob is gone, and its manifest is back). That everything survives is the plan `kill`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crashplans.recording import Call

WAYS = ("lost", "names", "content", "removed", "last")


@dataclass(eq=False)
class File:
    """A file, or a symbolic link if `target` is given. `safe` is its content at the last sync."""

    content: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    mode: int = 0o644
    modified_ns: int = 0
    target: str = ""


@dataclass(eq=False)
class Folder:
    """`safe` are the names at the last sync, `removed` those that were unlinked since."""

    names: dict[str, Node] = field(default_factory=dict)
    safe: dict[str, Node] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    mode: int = 0o755


Node = File | Folder


class Disk:
    """One folder on such a disk. `root` is its path, which the calls have."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._by_inode: dict[int, File] = {}
        self._last: Folder | None = None
        self.top = self._load(root)

    def _load(self, path: Path) -> Folder:
        folder = Folder(mode=stat.S_IMODE(path.stat().st_mode))
        for entry in os.scandir(path):
            info = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                folder.names[entry.name] = self._load(Path(entry.path))
                continue
            target = os.readlink(entry.path) if entry.is_symlink() else ""
            content = b"" if target else Path(entry.path).read_bytes()
            file = File(bytearray(content), content, stat.S_IMODE(info.st_mode), info.st_mtime_ns, target)
            folder.names[entry.name] = self._by_inode.setdefault(info.st_ino, file)
        folder.safe = dict(folder.names)
        return folder

    def apply(self, call: Call) -> None:
        """Let a call happen."""
        if call.is_change:
            if call.path and call.what not in ("write", "resize", "sync"):
                self._last = self._at(call.path)[0]
            _DOERS[call.what](self, call)

    def _at(self, path: str) -> tuple[Folder, str]:
        """The folder that has a name, and the name."""
        parts = os.path.relpath(path, self._root).split("/")
        folder = self.top
        for part in parts[:-1]:
            found = folder.names[part]
            assert isinstance(found, Folder), path
            folder = found
        return folder, parts[-1]

    def _find(self, path: str) -> Node | None:
        folder, name = self._at(path)
        return folder if name == "." else folder.names.get(name)

    def _create(self, call: Call) -> None:
        folder, name = self._at(call.path)
        file = File(mode=stat.S_IMODE(call.mode), modified_ns=call.modified_ns)
        folder.names[name] = self._by_inode[call.inode] = file

    def _file(self, call: Call) -> File:
        file = self._by_inode.setdefault(call.inode, File())
        file.modified_ns = call.modified_ns
        return file

    def _empty(self, call: Call) -> None:
        self._file(call).content.clear()

    def _resize(self, call: Call) -> None:
        content = self._file(call).content
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))

    def _write(self, call: Call) -> None:
        content = self._file(call).content
        content.extend(bytes(max(call.offset - len(content), 0)))
        content[call.offset : call.offset + len(call.data)] = call.data

    def _rename(self, call: Call) -> None:
        folder, name = self._at(call.other)
        target, new = self._at(call.path)
        node = folder.names[name]
        if target.names.get(new) is not node:  # else both are names of one file, and nothing happens
            target.names[new] = folder.names.pop(name)

    def _link(self, call: Call) -> None:
        source = self._find(call.other)
        folder, name = self._at(call.path)
        assert source is not None
        folder.names[name] = source

    def _symlink(self, call: Call) -> None:
        folder, name = self._at(call.path)
        folder.names[name] = File(target=call.other, modified_ns=call.modified_ns)

    def _unlink(self, call: Call) -> None:
        folder, name = self._at(call.path)
        del folder.names[name]
        folder.removed.add(name)

    def _mkdir(self, call: Call) -> None:
        folder, name = self._at(call.path)
        folder.names[name] = Folder(mode=stat.S_IMODE(call.mode))

    def _sync(self, call: Call) -> None:
        if stat.S_ISDIR(call.mode):
            folder = self._find(call.path)
            assert isinstance(folder, Folder)
            folder.safe, folder.removed = dict(folder.names), set()
        else:
            file = self._file(call)
            file.safe = bytes(file.content)

    def _chmod(self, call: Call) -> None:
        node = self._by_inode.get(call.inode) or self._find(call.path)
        if node is not None:
            node.mode = stat.S_IMODE(call.mode)

    def _times(self, call: Call) -> None:
        node = self._by_inode.get(call.inode) or self._find(call.path)
        if isinstance(node, File):
            node.modified_ns = call.modified_ns

    def write_out(self, way: str, place: Path) -> None:
        """Make a folder of what is there after a power cut, in one of `WAYS`."""
        place.mkdir()
        links: dict[int, Path] = {}
        for path, node, content in self._after(way, self.top, place):
            if isinstance(node, Folder):
                path.mkdir()
                path.chmod(node.mode)
            elif node.target:
                path.symlink_to(node.target)
            elif (first := links.get(id(node))) is not None:
                path.hardlink_to(first)
            else:
                links[id(node)] = path
                path.write_bytes(content)
                path.chmod(node.mode)
                os.utime(path, ns=(node.modified_ns, node.modified_ns))

    def key(self, way: str) -> bytes:
        """Equal for equal outcomes."""
        hasher = hashlib.blake2b()
        for path, node, content in self._after(way, self.top, Path()):
            kind = "folder" if isinstance(node, Folder) else node.target
            times = 0 if isinstance(node, Folder) else node.modified_ns
            hasher.update(repr((str(path), kind, node.mode, times, len(content))).encode())
            hasher.update(content)
        return hasher.digest()

    def _after(self, way: str, folder: Folder, place: Path) -> Iterator[tuple[Path, Node, bytes | bytearray]]:
        for name, node in _names(way, folder, is_last=folder is self._last).items():
            path = place / name
            if isinstance(node, Folder):
                yield path, node, b""
                yield from self._after(way, node, path)
            elif not name.endswith("-shm"):  # SQLite's shared memory: made again from the log
                yield path, node, node.content if way == "content" else node.safe


def _names(way: str, folder: Folder, *, is_last: bool) -> dict[str, Node]:
    if way == "names" or (way == "last" and is_last):
        return folder.names
    if way == "removed":
        return {
            name: node
            for name, node in folder.safe.items()
            if name in folder.names or name not in folder.removed
        }
    return folder.safe


_DOERS: dict[str, Callable[[Disk, Call], None]] = {
    "create": Disk._create,
    "empty": Disk._empty,
    "resize": Disk._resize,
    "write": Disk._write,
    "rename": Disk._rename,
    "link": Disk._link,
    "symlink": Disk._symlink,
    "unlink": Disk._unlink,
    "rmdir": Disk._unlink,
    "mkdir": Disk._mkdir,
    "sync": Disk._sync,
    "chmod": Disk._chmod,
    "times": Disk._times,
    "note": lambda disk, call: None,
}
