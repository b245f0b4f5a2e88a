"""Adds the OpenAI-compatible routes to a router."""

from __future__ import annotations

from corral.api.http.routing import Router
from corral.api.openai.inference import OpenAIInferenceRoutes
from corral.api.openai.models import ModelsRoutes
from corral.api.openai.rerank import RerankRoutes
from corral.api.openai.transcription import TranscriptionRoutes
from corral.inference.pipeline import Inference
from corral.library.models import Library


def add_openai_routes(
    router: Router, service: Inference, library: Library, *, max_body_bytes: int, max_depth: int
) -> None:
    inference = OpenAIInferenceRoutes(service, max_body_bytes=max_body_bytes, max_depth=max_depth)
    models = ModelsRoutes(library)
    transcription = TranscriptionRoutes(service, max_body_bytes=max_body_bytes)
    rerank = RerankRoutes(service, max_body_bytes=max_body_bytes, max_depth=max_depth)
    router.add("POST", "/v1/chat/completions", inference.chat)
    router.add("POST", "/v1/completions", inference.completions)
    router.add("POST", "/v1/embeddings", inference.embeddings)
    router.add("GET", "/v1/models", models.list_models)
    router.add("GET", "/v1/models/:model", models.retrieve)
    router.add("POST", "/v1/audio/transcriptions", transcription.transcribe)
    router.add("POST", "/v1/rerank", rerank.compatible)
    router.add("POST", "/api/rerank", rerank.native)
