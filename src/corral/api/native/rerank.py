"""`/api/rerank` and `/v1/rerank`: one body in the shape of Jina's and Cohere's APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corral.api.http.bodies import read_compatible
from corral.api.http.exchange import JSON_UTF8, Exchange
from corral.api.reading import decode
from corral.api.reading.jsonread import JSONObject, clean_text, plain
from corral.api.reading.schema import STRING, array_of, json_body, object_of
from corral.errors import InvalidRequestError
from corral.golang.json import encode
from corral.inference.pipeline import Inference
from corral.inference.requests import RerankRequest, RerankResult

_MAX_DOCUMENTS = 2048


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, and what its answer shows. `top_n` 0: all. `documents` as they came, for `returns_documents`."""

    request: RerankRequest
    documents: list[Any]
    top_n: int
    returns_documents: bool


class RerankHandlers:
    """Handlers on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def native(self, exchange: Exchange) -> None:
        await self._answer(exchange, is_native=True)

    async def compatible(self, exchange: Exchange) -> None:
        await self._answer(exchange, is_native=False)

    async def _answer(self, exchange: Exchange, *, is_native: bool) -> None:
        call = await read_compatible(exchange, read_rerank)

        async def work() -> None:
            result = await self._service.rerank(call.request)
            await exchange.respond(200, encode(_answer_json(call, result, is_native=is_native)), JSON_UTF8)

        await exchange.run_watched(work())


def _query(decoding: decode.Decoding, value: Any, path: str, text: str) -> str | None:
    if isinstance(value, JSONObject):
        value = plain(value).get("text")
    return decode.string(decoding, value, path, text)


def _documents(decoding: decode.Decoding, value: Any, path: str, _text: str) -> list[Any] | None:
    if not isinstance(value, list) or isinstance(value, JSONObject):
        decoding.mismatch(value, path, "[]string")
        return None
    return [plain(document) for document in value]


RERANK: dict[str, decode.Decode] = {
    "model": decode.string,
    "query": _query,
    "documents": _documents,
    "top_n": decode.integer,
    "return_documents": decode.boolean,
    "raw_scores": decode.boolean,
    "truncate": decode.boolean,
    "keep_alive": decode.keep_alive,
    "options": decode.mapping,
}


RERANK_BODY = json_body(
    RERANK,
    "model query documents",
    {
        "model": "my-reranker",
        "query": "colours of the sky",
        "documents": ["The sky is blue.", "Grass is green."],
    },
    query=STRING,
    documents=array_of({"anyOf": [STRING, object_of("text", text=STRING)]}),
)


def read_rerank(body: bytes, max_depth: int) -> _Call:
    """Raises InvalidRequestError."""
    values = decode.decode_request(body, "RerankRequest", RERANK, max_depth=max_depth)
    if not values.get("query"):
        raise InvalidRequestError("query is required")
    documents = values.get("documents") or []
    if not documents:
        raise InvalidRequestError("documents is required: a list of texts, or of objects with a text")
    if len(documents) > _MAX_DOCUMENTS:
        raise InvalidRequestError(f"a request may have {_MAX_DOCUMENTS} documents at most")
    top_n = values.get("top_n", 0)
    if top_n < 0 or (top_n == 0 and "top_n" in values):
        raise InvalidRequestError("top_n must be at least 1")
    request = RerankRequest(
        model=values.get("model", ""),
        query=values["query"],
        documents=tuple(_text_of(document, index) for index, document in enumerate(documents)),
        is_raw=values.get("raw_scores", False),
        truncate=values.get("truncate", True),
        keep_alive_ns=values.get("keep_alive"),
        options=values.get("options"),
    )
    return _Call(request, documents, top_n, values.get("return_documents", False))


def _text_of(document: Any, index: int) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise InvalidRequestError(f'documents[{index}] must be a text, or an object with a "text"')
    return clean_text(text)


def _answer_json(call: _Call, result: RerankResult, *, is_native: bool) -> dict[str, Any]:
    """Best first; documents of equal score stay in their order."""
    order = sorted(range(len(result.scores)), key=lambda index: -result.scores[index])
    rows: list[dict[str, Any]] = []
    for index in order[: call.top_n or None]:
        row: dict[str, Any] = {"index": index, "relevance_score": result.scores[index]}
        if call.returns_documents:
            document = call.documents[index]
            row["document"] = {"text": document} if isinstance(document, str) else document
        rows.append(row)
    answer: dict[str, Any] = {
        "model": call.request.model,
        "object": "list",
        "results": rows,
        "usage": {"prompt_tokens": result.prompt_count, "total_tokens": result.prompt_count},
    }
    if is_native:
        answer["total_duration"] = result.total_duration_ns
        answer["load_duration"] = result.load_duration_ns
        answer["prompt_eval_count"] = result.prompt_count
    return answer
