"""What a plan for the whole cluster wants of this server: a model's weights, the model in memory, or not any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.inference.pipeline import Inference
from corral.library.pull import Puller
from corral.store.models import ModelStore

_NS_PER_S = 1_000_000_000


class OwnReplicas:
    """Models by their full names. All raise CorralError."""

    def __init__(self, store: ModelStore, puller: Puller, inference: Inference) -> None:
        self._store = store
        self._puller = puller
        self._inference = inference

    async def fetch(self, model: str) -> None:
        """Bring the weights here."""

        async def quiet(_event: dict[str, Any]) -> None:
            """Drops the progress messages."""

        await self._puller.pull(self._puller.parse(model), quiet)

    async def load(self, model: str, keep_alive_s: int) -> None:
        """Load it, or have it stay loaded."""
        await self._inference.load(model, keep_alive_s * _NS_PER_S)

    async def unload(self, model: str) -> None:
        await self._inference.unload(model)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of all layers of each model that is here. Blocks on the disk."""
        return {
            stored.name.full(): sum(layer.size_bytes for layer in stored.manifest.layers)
            for stored in self._store.manifests.stored()
        }
