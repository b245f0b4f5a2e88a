"""The built page as it is committed: complete, packed, and small."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

import corral.web
from corral.api.ui.files import INDEX, page_files

DIST = Path(corral.web.__file__).with_name("dist")
FIRST_LOAD_BYTES = 120_000
ALL_BYTES = 400_000
# Below this nothing is packed (web/build/pack.ts).
SMALL_BYTES = 512


def gzip_bytes(name: str) -> int:
    """What a browser that takes gzip loads."""
    packed = DIST / f"{name}.gz"
    return (packed if packed.exists() else DIST / name).stat().st_size


def references(name: str) -> set[str]:
    """Files that a browser loads with this one: linked in HTML, or imported statically in a script."""
    text = (DIST / name).read_text()
    if name.endswith(".html"):
        return set(re.findall(r'(?:src|href)="\./([^"]+)"', text))
    if name.endswith(".js"):
        return {
            Path(found).name for found in re.findall(r'(?:from|import)\s*["`\']\./([^"`\']+)["`\']', text)
        }
    return set()


def first_load() -> set[str]:
    """What it takes to show the page that the reader begins with: the chat, whose code is a file of its own."""
    found: set[str] = set()
    waiting = {INDEX, *(name for name in page_files() if name.startswith("ChatPage-"))}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= references(name) - found
    return found


def test_first_load_is_small() -> None:
    """What a browser loads before anything is shown: at most 120 KB with gzip."""
    sizes = {name: gzip_bytes(name) for name in first_load()}
    assert sum(sizes.values()) <= FIRST_LOAD_BYTES, sizes


def test_whole_page_is_small() -> None:
    """Everything that a browser can ever load of it: at most 400 KB with gzip."""
    sizes = {name: gzip_bytes(name) for name in page_files()}
    assert sum(sizes.values()) <= ALL_BYTES, sizes


def test_packed_files_unpack_to_the_plain_ones() -> None:
    """Nothing is packed from another build."""
    for name, file in page_files().items():
        plain = file.codings["identity"]
        if len(plain) < SMALL_BYTES:
            continue
        assert gzip.decompress(file.codings["gzip"]) == plain, name
        assert len(file.codings["br"]) < len(file.codings["gzip"]), name


def test_nothing_is_packed_twice() -> None:
    """And nothing lies there that the server does not know."""
    names = {path.name for path in DIST.iterdir()}
    assert {name for name in names if name.count(".br") + name.count(".gz") > 1} == set()
    assert {name.removesuffix(".gz").removesuffix(".br") for name in names} == set(page_files())


def test_every_reference_exists() -> None:
    """The page asks for no file that the server does not have."""
    for name in page_files():
        assert references(name) <= set(page_files()), name


def test_nothing_comes_from_elsewhere() -> None:
    """HTML and styles name no other host, and HTML has no script or style of its own, which the policy forbids."""
    for name in page_files():
        text = (DIST / name).read_text()
        if name.endswith((".html", ".css")):
            assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", text), name
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text), name


@pytest.mark.parametrize("name", ["licences.txt", INDEX])
def test_files_with_fixed_names(name: str) -> None:
    """Every other file has a hash in its name, and is kept by browsers forever."""
    files = page_files()
    assert not files[name].is_lasting
    fixed = {each for each, file in files.items() if not file.is_lasting}
    assert fixed == {INDEX, "licences.txt"}
