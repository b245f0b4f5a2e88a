"""How likely each of some tokens is to come next: the engine's sampler, restricted to them.

The engine reports the probabilities of what its sampler had to choose from. A bias that lifts the candidates above
all other tokens, and `top_k` as large as their number, leave it the candidates alone; the bias is the same for all
of them, so their softmax does not change.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from typing import Any

from corral.runner.interface import TokenScores

# Logits of real models lie within some tens. The larger one costs digits, and serves random test models.
_BIASES = (100.0, 10_000.0)


def bodies(
    prompt: str | list[int], tokens: Sequence[int], images: Sequence[bytes], *, may_reuse: bool = True
) -> Iterator[dict[str, Any]]:
    """The `/completion` bodies to try, until one of the answers has all candidates.

    `may_reuse`: what was computed of the prompt before is used again.
    """
    content: Any = prompt
    if images:
        data = [base64.b64encode(image).decode("ascii") for image in images]
        content = {"prompt_string": prompt, "multimodal_data": data}
    for bias in _BIASES:
        yield {
            "prompt": content,
            "stream": False,
            "n_predict": 1,
            "n_probs": len(tokens),
            "post_sampling_probs": True,
            "samplers": ["top_k", "temperature"],
            "top_k": len(tokens),
            "temperature": 1.0,
            "logit_bias": [[token, bias] for token in tokens],
            "cache_prompt": may_reuse,
        }


def read_scores(answer: dict[str, Any], tokens: Sequence[int]) -> TokenScores | None:
    """The probabilities in the order of `tokens`; None if the sampler looked at other tokens, or has no numbers."""
    (step,) = answer["completion_probabilities"]
    found = {entry["id"]: entry["prob"] for entry in step["top_probs"]}
    values = [found.get(token) for token in tokens]
    probabilities = [float(value) for value in values if value is not None and math.isfinite(value)]
    total = math.fsum(probabilities)
    if len(probabilities) < len(tokens) or not total > 0:
        return None
    timings = answer["timings"]
    return TokenScores(
        tuple(value / total for value in probabilities),
        prompt_count=timings["cache_n"] + timings["prompt_n"],
        cached_count=timings["cache_n"],
        predicted_count=answer["tokens_predicted"],
    )
