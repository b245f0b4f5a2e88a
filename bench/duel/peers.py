"""A server that takes part: how it is found out which interface it has, and how it is asked for things."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.duel.streams import (
    Parser,
    PeerError,
    Reply,
    error_text,
    parse_ollama,
    parse_openai,
    read_stream,
)

Message = dict[str, str]
# So that no model is unloaded between two turns.
_KEEP_ALIVE = "60m"


class RouteMissingError(PeerError):
    """The server does not have the route: its figure is a dash, not an error."""


@dataclass(slots=True)
class Peer:
    """A chat server.

    `url`: without a path such as /v1. `timeout_s`: the most that one request may take. `pid`: its process, if its
    memory is to be measured.
    """

    name: str
    url: str
    model: str
    embed_model: str = ""
    timeout_s: float = 300.0
    num_ctx: int = 4096
    pid: int = 0
    is_ollama: bool = True
    version: str = ""
    # Whether any reply said how much of its prompt came from the cache. Servers may leave out a zero.
    reports_cache: bool = False
    # Of routes that were found missing, so that they are not asked for again and again.
    missing: set[str] = field(default_factory=set)

    def detect(self) -> None:
        """Find out which interface the server has. Raises PeerError if it has neither or does not answer."""
        try:
            self.version = str(self.call("GET", "/api/version")["version"])
        except (PeerError, KeyError, TypeError):
            self.call("GET", "/v1/models")
            self.is_ollama = False

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """A connection of its own. Whatever goes wrong inside is raised as PeerError."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "127.0.0.1", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield connection
        except TimeoutError as e:
            raise PeerError(f"no answer within {self.timeout_s:.0f} s") from e
        except (OSError, http.client.HTTPException) as e:
            raise PeerError(f"{type(e).__name__}: {e}") from e
        finally:
            connection.close()

    def call(
        self, method: str, path: str, body: Any = None, *, on: http.client.HTTPConnection | None = None
    ) -> Any:
        """The JSON of a reply, over a new connection unless one is given. Raises PeerError."""
        if on is None:
            with self.connection() as connection:
                return self.call(method, path, body, on=connection)
        self._send(on, method, path, body)
        data = self._response(on, path).read()
        try:
            return json.loads(data) if data else None
        except ValueError:
            raise PeerError(f"{path}: not JSON: {data[:80]!r}") from None

    def chat(
        self,
        messages: list[Message],
        token_count: int,
        *,
        seed: int | None = None,
        on_token: Callable[[float], bool] | None = None,
    ) -> Reply:
        """A streamed reply. `on_token` gets `time.perf_counter()` at each token; False from it ends the reading."""
        path, body = self._chat_request(messages, token_count, seed)
        parse: Parser = parse_ollama if self.is_ollama else parse_openai
        with self.connection() as connection:
            start_s = time.perf_counter()
            self._send(connection, "POST", path, body)
            response = self._response(connection, path)
            reply = read_stream(
                response,
                parse,
                lambda: time.perf_counter() - start_s,
                self.timeout_s,
                None if on_token is None else lambda at_s: on_token(start_s + at_s),
            )
        self.reports_cache |= reply.cached_count is not None
        return reply

    def one_token(
        self, messages: list[Message], on: http.client.HTTPConnection, seed: int | None = None
    ) -> None:
        """A reply of one token that is not streamed."""
        path, body = self._chat_request(messages, 1, seed)
        self.call("POST", path, {**body, "stream": False}, on=on)

    def embed(self, texts: list[str]) -> None:
        """Raises PeerError also if there is not a vector for each text."""
        body: dict[str, Any] = {"model": self.embed_model, "input": texts}
        if self.is_ollama:
            answer = self.call("POST", "/api/embed", {**body, "keep_alive": _KEEP_ALIVE})
            vectors = answer.get("embeddings") or []
        else:
            vectors = self.call("POST", "/v1/embeddings", body).get("data") or []
        if len(vectors) != len(texts):
            raise PeerError(f"{len(vectors)} embeddings for {len(texts)} texts")

    def unload(self) -> None:
        """Unload the model and wait until it is gone."""
        if not self.is_ollama:
            raise RouteMissingError("unloading is not part of OpenAI's interface")
        self.call("POST", "/api/generate", {"model": self.model, "keep_alive": 0, "stream": False})
        deadline_s = time.monotonic() + self.timeout_s
        while any(_same_model(entry["name"], self.model) for entry in self._loaded()):
            if time.monotonic() > deadline_s:
                raise PeerError(f"still loaded after {self.timeout_s:.0f} s")
            time.sleep(0.02)

    def context_length(self) -> int:
        """The longest context of the model, or 0 if the server does not tell."""
        try:
            if self.is_ollama:
                info = self.call("POST", "/api/show", {"model": self.model}).get("model_info") or {}
                return next((int(v) for k, v in info.items() if k.endswith(".context_length")), 0)
            models = self.call("GET", "/v1/models").get("data") or []
            entry: dict[str, Any] = next((m for m in models if m.get("id") == self.model), {})
            return int(entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx_train") or 0)
        except PeerError:
            return 0

    def _loaded(self) -> list[dict[str, Any]]:
        return self.call("GET", "/api/ps").get("models") or []

    def _chat_request(
        self, messages: list[Message], token_count: int, seed: int | None
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": True}
        seeds = {} if seed is None else {"seed": seed}
        if self.is_ollama:
            options = {"temperature": 0, "num_predict": token_count, "num_ctx": self.num_ctx, **seeds}
            return "/api/chat", {**body, "options": options, "keep_alive": _KEEP_ALIVE}
        usage = {"stream_options": {"include_usage": True}}
        return "/v1/chat/completions", {**body, "temperature": 0, "max_tokens": token_count, **seeds, **usage}

    def _send(self, connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> None:
        if path in self.missing:
            raise RouteMissingError(path)
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, urlsplit(self.url).path.rstrip("/") + path, data, headers)

    def _response(self, connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
        response = connection.getresponse()
        if response.status < 400:
            return response
        text = response.read().decode(errors="replace")
        reason = _reason(text)
        if response.status in {404, 405, 501} and "model" not in reason.lower():
            self.missing.add(path)
            raise RouteMissingError(path)
        raise PeerError(f"{path}: {response.status} {reason}")


def server_url(text: str) -> str:
    """The address of a server as people write it: with or without http:// and /v1."""
    url = text if "://" in text else f"http://{text}"
    return url.rstrip("/").removesuffix("/v1")


def _reason(text: str) -> str:
    try:
        data = json.loads(text)
    except ValueError:
        return text.strip()[:200]
    return error_text(data.get("error", data) if isinstance(data, dict) else data)


def _same_model(found: str, wanted: str) -> bool:
    return found.removesuffix(":latest") == wanted.removesuffix(":latest")
