"""The answer of `/v1/systemone`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.inference.decision import Answer, DecisionRequest, DecisionResult


def decisions_object(request: DecisionRequest, result: DecisionResult) -> dict[str, Any]:
    answers: Mapping[str, Any] = (
        {answer.question.name: _wire_answer(answer) for answer in result.answers}
        if result.native is None
        else result.native
    )
    return {
        "model": request.model,
        "answers": dict(answers),
        "usage": {"input_tokens": result.input_count, "output_tokens": result.output_count},
        "prompt_eval_cached_count": result.cached_count,
    }


def _wire_answer(answer: Answer) -> dict[str, Any]:
    question = answer.question
    if question.kind == "noul":
        return {"type": "noul", "noul": answer.probabilities[1]}
    keys = [str(option.value) for option in question.options]
    shares = {
        "probabilities": dict(zip(keys, answer.probabilities, strict=True)),
        "confidence": answer.confidence,
    }
    if question.kind == "choice":
        return {"type": "choice", "choice": keys[answer.best], **shares}
    legend = {key: option.description for key, option in zip(keys, question.options, strict=True)}
    return {"type": "score", "score": answer.score, "legend": legend, **shares}
