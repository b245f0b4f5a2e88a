"""What `/api/top` says, with rates: tokens that came between two looks, by the time between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]
_Seen = dict[tuple[str, str], tuple[float, int]]


@dataclass(slots=True)
class Look:
    """One look at the server. `rates`: tokens a second of models and requests, by kind and name."""

    answer: Answer
    rates: dict[tuple[str, str], float] = field(default_factory=dict)

    def rate(self, kind: str, name: str) -> float:
        return self.rates.get((kind, name), 0.0)


class Rates:
    """Remembers the look before. At the first one, rates are those of the replies so far."""

    def __init__(self) -> None:
        self._seen: _Seen = {}
        self._started = ""

    def look(self, answer: Answer, now_s: float) -> Look:
        """`now_s`: a monotonic time."""
        if self._started != answer.get("started_at"):
            self._seen, self._started = {}, str(answer.get("started_at"))
        seen: _Seen = {}
        look = Look(answer)
        means: dict[str, float] = {}
        for request in answer["requests"]:
            mean = float(request.get("tokens_per_s", 0.0))
            means[request["model"]] = means.get(request["model"], 0.0) + mean
            self._add(look, seen, ("request", request["id"]), request.get("tokens", 0), now_s, mean)
        for model in answer["models"]:
            mean = means.get(model["name"], 0.0)
            self._add(look, seen, ("model", model["name"]), model.get("generated_tokens", 0), now_s, mean)
        self._seen = seen
        return look

    def _add(
        self, look: Look, seen: _Seen, key: tuple[str, str], tokens: int, now_s: float, mean: float
    ) -> None:
        seen[key] = (now_s, tokens)
        then_s, count = self._seen.get(key, (now_s, tokens))
        look.rates[key] = max(tokens - count, 0) / (now_s - then_s) if now_s > then_s else mean
