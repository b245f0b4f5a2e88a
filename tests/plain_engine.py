"""The project's own runner, asked in plain function calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corral.runner.engine import EngineRunner
from corral.runner.factory import EngineFactory
from corral.runner.interface import EngineChoice, RunnerSpec

Array = np.ndarray[Any, Any]


class Engine:
    """One loaded model. Keys and values are kept in F32 so that only the weights' types matter."""

    def __init__(self, path: Path, **spec: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._factory = EngineFactory(EngineChoice(), hang_timeout_s=0, max_waiting=8)
        values: dict[str, Any] = {
            "num_ctx": 256,
            "num_thread": 1,
            "kv_cache_type": "f32",
            "flash_attention": False,
            **spec,
        }
        try:
            runner = self._run(
                self._factory.start(RunnerSpec(path, str(path), **values), lambda _share: None)
            )
        except BaseException:
            self._factory.close()
            self._loop.close()
            raise
        assert isinstance(runner, EngineRunner)
        self._runner = runner

    def _run(self, task: Any) -> Any:
        return self._loop.run_until_complete(task)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._run(self._runner.close())
        self._factory.close()
        self._loop.close()

    def request(self, path: str, body: dict[str, Any]) -> Any:
        return self._run(self._runner.request_json(path, body))

    def tokenize(self, text: str) -> list[int]:
        answer = self.request("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        tokens: list[int] = answer["tokens"]
        return tokens

    def logprobs(self, tokens: Sequence[int], n_vocab: int) -> Array:
        """Log-probabilities of every token after `tokens`, (n_vocab,) float64."""
        body = {
            "prompt": list(tokens),
            "n_predict": 1,
            "n_probs": n_vocab,
            "temperature": 1.0,
            # Half a character is answered without probabilities. Those given are the ones before the bias.
            "logit_bias": [["a", 1000]],
            "cache_prompt": False,
            "stream": False,
        }
        answer = self.request("/completion", body)
        found = np.full(n_vocab, np.nan)
        for entry in answer["completion_probabilities"][0]["top_logprobs"]:
            found[entry["id"]] = entry["logprob"]
        return found

    def embedding(self, tokens: Sequence[int]) -> Array:
        """The pooled vector as the model makes it, without normalising."""
        answer = self.request("/embedding", {"content": [list(tokens)], "embd_normalize": -1})
        return np.array(answer[0]["embedding"][0])
