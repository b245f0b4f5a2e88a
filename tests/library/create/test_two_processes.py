"""Two processes on one store, creating and deleting models that share layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from corral.digest import Digest
from corral.store.models import ModelStore
from tests.conftest import FIXTURES

pytestmark = pytest.mark.process

PROGRAM = """
import asyncio, random, sys, time
from pathlib import Path
from corral.library.create.request import CreateRequest
from corral.library.create.service import Creator
from corral.errors import ModelNotFoundError
from corral.names import ModelName
from corral.store.models import ModelStore
from corral.store.prune import delete_unreferenced, prepare_store

folder, digest, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store, random_ = ModelStore(folder), random.Random(seed)
creator = Creator(store, may_prune=True)

async def quiet(event):
    pass

def delete(name):
    try:
        stored = store.manifests.read(ModelName.parse(name))
        store.manifests.delete(ModelName.parse(name))
    except FileNotFoundError:
        return
    delete_unreferenced(store, stored.manifest.digests() - keep)

from corral.digest import Digest
keep = {Digest.parse(digest)}
for _ in range(60):
    name = f"m{random_.randrange(4)}"
    if random_.random() < 0.6:
        # Few texts, so that models share them and a deletion takes away what another create is about to use.
        text = f"text {random_.randrange(2)}"
        request = CreateRequest(model=name, files={"m.gguf": digest}, system=text, license="MIT")
        asyncio.run(creator.create(request, quiet))
    else:
        delete(name)
    if random_.random() < 0.1:
        prepare_store(store, may_prune=True, now_s=time.time() + 4000)
"""


def test_creates_and_deletes(tmp_path: Path) -> None:
    """No model ever lacks a layer, and nothing is left that no model has."""
    data = (FIXTURES / "say.gguf").read_bytes()
    digest = Digest.of(data)
    store = ModelStore(tmp_path)
    store.blobs.put_bytes(data)
    # A model that keeps the weights, whatever the others do.
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(digest)]
    anchor = "from corral.library.create.request import CreateRequest"
    subprocess.run(
        [sys.executable, "-c", anchor + KEEPER, str(tmp_path), str(digest)], check=True, timeout=60
    )
    running = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE) for seed in range(3)]
    for process in running:
        _, log = process.communicate(timeout=120)
        assert process.returncode == 0, log.decode()
    models = ModelStore(tmp_path).list()
    assert len(models) == sum(1 for _ in store.manifests.names()), "every manifest can be loaded"
    used = {d.file_name() for stored in store.manifests.stored() for d in stored.manifest.digests()}
    assert {path.name for path in (tmp_path / "blobs").iterdir()} == used


KEEPER = """
import asyncio, sys
from pathlib import Path
from corral.library.create.service import Creator
from corral.store.models import ModelStore
async def quiet(event): pass
creator = Creator(ModelStore(Path(sys.argv[1])), may_prune=True)
asyncio.run(creator.create(CreateRequest(model="keeper", files={"m.gguf": sys.argv[2]}), quiet))
"""
