"""The table of the native API's routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corral.api.health.routes import HealthChecks
from corral.api.http.exchange import NDJSON
from corral.api.http.limits import LARGE_BODY, MEDIUM_BODY, SMALL_BODY
from corral.api.http.live import LiveRequests
from corral.api.http.routing import Route, Surface
from corral.api.native import answers, hosted_service, protocol
from corral.api.native.account import AccountHandlers
from corral.api.native.blobs_and_create import CreateHandlers
from corral.api.native.inference import InferenceHandlers
from corral.api.native.library import LibraryHandlers, Loads
from corral.api.native.rerank import RERANK_BODY, RerankHandlers
from corral.api.native.tokens import TokenHandlers
from corral.api.native.verify import VerifyHandlers
from corral.api.reading.schema import (
    ANYTHING,
    BINARY_BODY,
    MODEL,
    QUESTION,
    STRING,
    Body,
    array_of,
    json_body,
)
from corral.inference.pipeline import Inference
from corral.library.blob_access import BlobAccess
from corral.library.create.local import LocalFiles
from corral.library.create.service import Creator
from corral.library.models import Library
from corral.library.pull import Puller
from corral.library.verify import Verifier
from corral.store.models import ModelStore

if TYPE_CHECKING:
    from corral.registry.account import Account

_TEXTS = {"anyOf": [STRING, array_of(STRING)]}
_TOOL_CHOICE = {"anyOf": [STRING, {"type": "object"}]}
_ANY_JSON = Body("application/json", {}, {"query": "sky"})
_NEW = "my-model"


@dataclass(frozen=True, slots=True)
class Services:
    """What the native routes work on. `cloud_source`: what switched the hosted service off, in Ollama's words.

    `gpu_problem`: what is wrong with the use of GPUs, as far as is known, and how to mend it; empty if nothing is.
    `has_page`: browsers that open `/` are sent to `/ui/`.
    """

    inference: Inference
    library: Library
    puller: Puller
    scheduler: Loads
    store: ModelStore
    creator: Creator
    local_files: LocalFiles
    verifier: Verifier
    blob_access: BlobAccess
    open_account: Callable[[], Account]
    health: HealthChecks
    live: LiveRequests
    is_offline: bool = False
    cloud_source: str = "config"
    gpu_problem: Callable[[], tuple[str, str]] = lambda: ("", "")
    has_page: bool = False


def native_surface(services: Services) -> Surface:
    """Ollama's own API, and what Corral adds to it."""
    library = LibraryHandlers(
        services.library,
        services.puller,
        services.scheduler,
        services.live,
        cloud_source=services.cloud_source,
        gpu_problem=services.gpu_problem,
        has_page=services.has_page,
    )
    account = AccountHandlers(services.open_account, is_offline=services.is_offline)
    routes = (
        *_server(library),
        *_models(library, VerifyHandlers(services.verifier)),
        *_inference(InferenceHandlers(services.inference)),
        *_vectors_and_tokens(services.inference),
        *_transfers(library),
        *_creation(
            CreateHandlers(services.store, services.creator, services.local_files, services.blob_access)
        ),
        *_hosted(account),
    )
    return Surface("native", "Ollama's API", routes, answers.ERROR)


def _server(library: LibraryHandlers) -> tuple[Route, ...]:
    return (
        Route("GET HEAD", "/", library.root, "Whether the server runs", scope="open", answers=ANYTHING),
        Route(
            "GET HEAD",
            "/api/version",
            library.version,
            "The server's version",
            scope="open",
            answers=answers.VERSION,
        ),
        Route(
            "GET",
            "/api/status",
            library.status,
            "Status of the hosted service (always disabled)",
            scope="open",
            answers=ANYTHING,
        ),
    )


def _models(library: LibraryHandlers, verify: VerifyHandlers) -> tuple[Route, ...]:
    return (
        Route("GET HEAD", "/api/tags", library.tags, "All models", scope="read", answers=answers.TAGS),
        Route("GET", "/api/ps", library.ps, "Loaded models", scope="read", answers=answers.LOADED),
        Route(
            "GET",
            "/api/loading",
            library.loading,
            "Models that are being loaded, and how far",
            scope="read",
            answers=ANYTHING,
        ),
        Route(
            "GET",
            "/api/origins",
            library.origins,
            "Which models came from a registry, and which were made locally",
            scope="read",
            answers=ANYTHING,
        ),
        Route(
            "POST",
            "/api/show",
            library.show,
            "Details of a model",
            scope="read",
            reads=json_body(protocol.SHOW, "model", {"model": MODEL}),
            answers=answers.SHOWN,
            limit_bytes=MEDIUM_BODY,
        ),
        Route(
            "POST",
            "/api/copy",
            library.copy,
            "Give a model another name",
            scope="manage",
            reads=json_body(protocol.COPY, "source destination", {"source": MODEL, "destination": _NEW}),
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "DELETE",
            "/api/delete",
            library.delete,
            "Delete a model",
            scope="manage",
            reads=json_body(protocol.NAMES, "model", {"model": _NEW}),
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "POST",
            "/api/verify",
            verify.verify,
            "Compare stored models, or all of them, with their digests",
            scope="manage",
            reads=json_body(protocol.VERIFY, "", {"model": MODEL}),
            answers=answers.PROGRESS,
            streams=NDJSON,
            limit_bytes=SMALL_BODY,
            is_read_only=True,
        ),
    )


def _inference(inference: InferenceHandlers) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/api/generate",
            inference.generate,
            "Complete a prompt",
            scope="infer",
            reads=json_body(protocol.GENERATE, "model", {"model": MODEL, "prompt": "Why is the sky blue?"}),
            answers=answers.GENERATED,
            streams=NDJSON,
        ),
        Route(
            "POST",
            "/api/chat",
            inference.chat,
            "Continue a conversation",
            scope="infer",
            reads=json_body(
                protocol.CHAT,
                "model messages",
                {"model": MODEL, "messages": QUESTION},
                tool_choice=_TOOL_CHOICE,
            ),
            answers=answers.CHATTED,
            streams=NDJSON,
        ),
        Route(
            "POST",
            "/api/embed",
            inference.embed,
            "Vectors of texts",
            scope="infer",
            reads=json_body(
                protocol.EMBED,
                "model input",
                {"model": MODEL, "input": ["one text", "another text"]},
                input=_TEXTS,
            ),
            answers=answers.EMBEDDED,
        ),
        Route(
            "POST",
            "/api/embeddings",
            inference.embeddings,
            "The vector of a text (older)",
            scope="infer",
            reads=json_body(protocol.EMBEDDINGS, "model prompt", {"model": MODEL, "prompt": "one text"}),
            answers=answers.EMBEDDING,
        ),
    )


def _vectors_and_tokens(service: Inference) -> tuple[Route, ...]:
    tokens = TokenHandlers(service)
    return (
        Route(
            "POST",
            "/api/rerank",
            RerankHandlers(service).native,
            "Rank documents for a query",
            scope="infer",
            reads=RERANK_BODY,
            answers=answers.RANKING,
        ),
        Route(
            "POST",
            "/api/tokenize",
            tokens.tokenize,
            "The tokens of a text",
            scope="infer",
            reads=json_body(
                protocol.TOKENIZE, "model content", {"model": MODEL, "content": "Why is the sky blue?"}
            ),
            answers=answers.TOKENS,
        ),
        Route(
            "POST",
            "/api/detokenize",
            tokens.detokenize,
            "The text of tokens",
            scope="infer",
            reads=json_body(protocol.DETOKENIZE, "model tokens", {"model": MODEL, "tokens": [1, 2, 3]}),
            answers=answers.TEXT,
        ),
    )


def _transfers(library: LibraryHandlers) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/api/pull",
            library.pull,
            "Pull a model from its registry",
            scope="manage",
            reads=json_body(protocol.TRANSFER, "model", {"model": "all-minilm"}),
            answers=answers.PROGRESS,
            streams=NDJSON,
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "POST",
            "/api/push",
            library.push,
            "Push a model to its registry",
            scope="manage",
            reads=json_body(protocol.TRANSFER, "model", {"model": "my-account/my-model"}),
            answers=answers.PROGRESS,
            streams=NDJSON,
            limit_bytes=SMALL_BODY,
        ),
    )


def _creation(create: CreateHandlers) -> tuple[Route, ...]:
    return (
        Route(
            "POST",
            "/api/create",
            create.create,
            "Create a model",
            scope="manage",
            reads=json_body(
                protocol.CREATE, "model", {"model": _NEW, "from": MODEL, "system": "Answer in one sentence."}
            ),
            answers=answers.PROGRESS,
            streams=NDJSON,
            limit_bytes=LARGE_BODY,
        ),
        Route(
            "HEAD", "/api/blobs/:digest", create.blob_exists, "Whether a blob is in the store", scope="read"
        ),
        Route(
            "POST",
            "/api/blobs/:digest",
            create.blob_upload,
            "Put a blob into the store",
            scope="manage",
            reads=BINARY_BODY,
            statuses=(200, 201),
        ),
        Route(
            "GET",
            "/api/local-blobs",
            create.token_file,
            "Where a program on this machine finds its token",
            scope="manage",
            answers=ANYTHING,
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "POST",
            "/api/local-blobs",
            create.take_in,
            "Make a blob of a file on this machine",
            scope="manage",
            reads=json_body(protocol.LOCAL_BLOB, "path token", {"path": "/tmp/model.gguf", "token": ""}),
            answers=answers.PROGRESS,
            streams=NDJSON,
            limit_bytes=SMALL_BODY,
        ),
    )


def _hosted(account: AccountHandlers) -> tuple[Route, ...]:
    """What belongs to ollama.com."""
    return (
        Route(
            "POST",
            "/api/me",
            account.me,
            "The registry account of this machine's key",
            scope="account",
            answers=ANYTHING,
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "POST",
            "/api/signout",
            account.sign_out,
            "Remove this machine's key from its registry account",
            scope="account",
            answers=ANYTHING,
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "DELETE",
            "/api/user/keys/:key",
            account.sign_out,
            "The same (older)",
            scope="account",
            answers=ANYTHING,
        ),
        Route(
            "POST",
            "/api/experimental/web_search",
            hosted_service.web_search,
            "Refused: there is no hosted service",
            scope="infer",
            reads=_ANY_JSON,
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "POST",
            "/api/experimental/web_fetch",
            hosted_service.web_fetch,
            "Refused: there is no hosted service",
            scope="infer",
            reads=_ANY_JSON,
            limit_bytes=SMALL_BODY,
        ),
        Route(
            "GET",
            "/api/experimental/model-recommendations",
            hosted_service.recommendations,
            "Models to begin with",
            scope="open",
            answers=ANYTHING,
        ),
    )
