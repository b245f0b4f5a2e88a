"""What a client uploaded stays for a while, whatever becomes of the models made of it, and goes after that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.digest import Digest
from corral.errors import CorralError
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced, prepare_store
from tests.conftest import FIXTURES, Server
from tests.doubles.sentence_model import model_files

HOUR_S = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with a model, so that a sweep has something that it understands."""
    store = ModelStore(tmp_path / "models")
    create(store, "other", files={"m.gguf": put(store, FIXTURES / "embed.gguf")})
    return store


def put(store: ModelStore, path: Path) -> str:
    return str(store.blobs.put_bytes(path.read_bytes()).digest)


def create(store: ModelStore, model: str, **fields: Any) -> None:
    async def quiet(_event: dict[str, Any]) -> None:
        """Nobody watches."""

    asyncio.run(Creator(store, may_prune=True).create(CreateRequest(model=model, **fields), quiet))


def delete(store: ModelStore, model: str) -> None:
    name = ModelName.parse(model)
    digests = store.manifests.read(name).manifest.digests()
    store.manifests.delete(name)
    delete_unreferenced(store, digests)


def has(server: Server, digest: str) -> bool:
    return server.request("HEAD", f"/api/blobs/{digest}")[0] == 200


def test_upload_again_and_again(server: Server) -> None:
    """One upload, models that are replaced and deleted, and another create of the same digest each time."""
    tiny, say = (server.upload(FIXTURES / f"{name}.gguf") for name in ("tiny-notmpl", "jinja-tools"))

    def make(model: str, digest: str) -> None:
        body = {"model": model, "files": {"m.gguf": digest}, "stream": False}
        assert server.post("/api/create", body) == {"status": "success"}

    make("bv1", tiny)
    make("bv1", say)
    assert has(server, tiny)
    make("bv2", tiny)
    for model in ("bv1", "bv2"):
        assert server.request("DELETE", "/api/delete", {"model": model})[0] == 200
    assert has(server, tiny)
    assert has(server, say)
    make("bv3", tiny)
    assert server.request("DELETE", "/api/delete", {"model": "bv3"})[0] == 200


def test_another_server_starts(server: Server) -> None:
    """A second server on the folder, started or killed and started again at any moment, takes nothing away."""
    other = ModelStore(server.folder)
    digest = server.upload(FIXTURES / "tiny.gguf")
    body = {"model": "bv", "files": {"m.gguf": digest}, "stream": False}
    for _ in range(2):
        prepare_store(other, may_prune=True)
        assert has(server, digest)
        assert server.post("/api/create", body) == {"status": "success"}
        prepare_store(other, may_prune=True)
        assert server.request("DELETE", "/api/delete", {"model": "bv"})[0] == 200
        prepare_store(other, may_prune=True)
        assert has(server, digest)


def test_the_upload_of_a_failed_create(store: ModelStore) -> None:
    """It stays for the next attempt, and goes with the first start after the grace."""
    digest = put(store, FIXTURES / "tiny.gguf")
    with pytest.raises(CorralError):
        create(store, "m", files={"m.gguf": digest}, template="{{ if }}")
    for age_s, is_there in ((0.5 * HOUR_S, True), (1.2 * HOUR_S, False)):
        prepare_store(store, may_prune=True, now_s=time.time() + age_s)
        assert store.blobs.has(Digest.parse(digest)) is is_there


@pytest.mark.process
def test_the_sources_of_a_conversion(store: ModelStore) -> None:
    """They are of no use to the model, and do not stay for ever."""
    files = {name: put(store, path) for name, path in model_files().items()}
    create(store, "mini", files=files)
    used = store.manifests.read(ModelName.parse("mini")).manifest.digests()
    sources = {Digest.parse(digest) for digest in files.values()}
    assert not sources & used
    assert all(store.blobs.has(digest) for digest in sources)
    prepare_store(store, may_prune=True, now_s=time.time() + 1.2 * HOUR_S)
    assert not any(store.blobs.has(digest) for digest in sources)
    assert all(store.blobs.has(digest) for digest in used)


def test_the_grace_begins_with_the_last_use(store: ModelStore) -> None:
    """A create from the digest counts as a use, also when its model goes at once."""
    digest = put(store, FIXTURES / "tiny.gguf")
    create(store, "m", files={"m.gguf": digest})
    delete(store, "m")
    create(store, "m", files={"m.gguf": digest})
    delete(store, "m")
    assert store.blobs.has(Digest.parse(digest))


@pytest.mark.process
def test_what_nobody_uploaded_goes_at_once(store: ModelStore) -> None:
    """Texts and converted weights are not anybody's upload."""
    digest = put(store, FIXTURES / "tiny.gguf")
    create(store, "m", files={"m.gguf": digest}, system="Be brief.")
    create(store, "q", from_="m", quantize="q8_0")
    before = store.manifests.read(ModelName.parse("q")).manifest.digests()
    delete(store, "m")
    delete(store, "q")
    left = {digest for digest in before if store.blobs.has(digest)}
    assert left <= {Digest.parse(digest)}


def test_what_is_stored_as_it_came(start_server: Callable[..., Server]) -> None:
    """An adapter goes with the last model that has it, as in Ollama, which stores it untouched."""
    server = start_server()  # on a shared one other models may have the adapter
    server.create("tiny", "tiny")
    adapter = server.upload(FIXTURES / "lora.gguf")
    body = {"model": "ad", "from": "tiny", "adapters": {"lora.gguf": adapter}, "stream": False}
    assert server.post("/api/create", body) == {"status": "success"}
    assert has(server, adapter)
    assert server.request("DELETE", "/api/delete", {"model": "ad"})[0] == 200
    assert not has(server, adapter)
