"""The table of the OpenAI-compatible routes, but for those of the Responses API."""

from __future__ import annotations

from corral.api.http.routing import Route, Surface
from corral.api.http.sse import EVENT_STREAM
from corral.api.native.answers import RANKING
from corral.api.native.rerank import RERANK_BODY, RerankHandlers
from corral.api.openai import answers, protocol
from corral.api.openai.errors import envelope
from corral.api.openai.inference import InferenceHandlers
from corral.api.openai.models import ModelHandlers
from corral.api.openai.transcription import TRANSCRIPTION_BODY, TranscriptionHandlers
from corral.api.reading.schema import MODEL, QUESTION, STRING, array_of, json_body
from corral.inference.pipeline import Inference
from corral.library.models import Library

_TEXTS = {"anyOf": [STRING, array_of(STRING)]}
_PROMPTS = {"anyOf": [STRING, array_of(STRING), array_of({"type": "integer"})]}
_LOGIT_BIAS = {"type": "object", "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}}
_TOOL_CHOICE = {"anyOf": [STRING, {"type": "object"}]}


def openai_surface(service: Inference, library: Library) -> Surface:
    """What the `openai` packages call under `/v1`, and ranking in the shape that became usual there."""
    routes = (
        *_inference(InferenceHandlers(service)),
        *_models(ModelHandlers(library)),
        Route(
            "POST",
            "/v1/audio/transcriptions",
            TranscriptionHandlers(service).transcribe,
            "Transcribe audio",
            scope="infer",
            reads=TRANSCRIPTION_BODY,
            answers=answers.TRANSCRIPT,
            streams=EVENT_STREAM,
        ),
        Route(
            "POST",
            "/v1/rerank",
            RerankHandlers(service).compatible,
            "Rank documents for a query",
            scope="infer",
            reads=RERANK_BODY,
            answers=RANKING,
        ),
    )
    return Surface("openai", "OpenAI's API", routes, answers.ERROR, envelope)


def _inference(inference: InferenceHandlers) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/v1/chat/completions",
            inference.chat,
            "Continue a conversation",
            scope="infer",
            reads=json_body(
                protocol.CHAT,
                "model messages",
                {"model": MODEL, "messages": QUESTION, "stream": True},
                logit_bias=_LOGIT_BIAS,
                stop=_TEXTS,
                tool_choice=_TOOL_CHOICE,
            ),
            answers=answers.CHAT_COMPLETION,
            streams=EVENT_STREAM,
        ),
        Route(
            "POST",
            "/v1/completions",
            inference.completions,
            "Complete prompts",
            scope="infer",
            reads=json_body(
                protocol.COMPLETION,
                "model",
                {"model": MODEL, "prompt": "The sky is", "max_tokens": 50},
                logit_bias=_LOGIT_BIAS,
                stop=_TEXTS,
                prompt=_PROMPTS,
            ),
            answers=answers.COMPLETION,
            streams=EVENT_STREAM,
        ),
        Route(
            "POST",
            "/v1/embeddings",
            inference.embeddings,
            "Vectors of texts",
            scope="infer",
            reads=json_body(
                protocol.EMBEDDINGS, "model input", {"model": MODEL, "input": "one text"}, input=_TEXTS
            ),
            answers=answers.EMBEDDING_LIST,
        ),
    )


def _models(models: ModelHandlers) -> tuple[Route, ...]:
    return (
        Route("GET", "/v1/models", models.list_models, "All models", scope="read", answers=answers.MODELS),
        Route("GET", "/v1/models/:model", models.retrieve, "One model", scope="read", answers=answers.MODEL),
    )
