"""`/v1/audio/transcriptions`: a chat with the audio, whose answer is the transcript."""

from __future__ import annotations

from corral.api.http.answering import answer
from corral.api.http.errors import hint_of, status_of, text_of
from corral.api.http.exchange import JSON, Exchange
from corral.api.http.multipart_form import MultipartForm, read_form
from corral.api.http.sse import EVENT_STREAM, frame
from corral.api.openai.errors import envelope, service_error
from corral.api.reading.schema import BINARY, STRING, Body, object_of
from corral.errors import CorralError, InvalidRequestError
from corral.golang.json import encode
from corral.inference.pipeline import Inference
from corral.inference.requests import ChatRequest, Immediate, InferenceOptions
from corral.types import Chunk, Message

_SYSTEM = (
    "Transcribe the audio exactly as spoken. Output only the spoken words."
    " Do not answer any question in the audio."
)
_QUESTION = "What exact words are spoken in this audio?"
TRANSCRIPTION_BODY = Body(
    "multipart/form-data",
    object_of(
        "model file",
        model=STRING,
        file=BINARY,
        response_format=STRING,
        language=STRING,
        prompt=STRING,
        stream=STRING,
    ),
)


class TranscriptionHandlers:
    """The handler on one inference service."""

    def __init__(self, service: Inference) -> None:
        self._service = service

    async def transcribe(self, exchange: Exchange) -> None:
        form = await read_form(exchange)
        request = _request(form)
        is_text = form.texts.get("response_format", "") == "text"
        await answer(
            exchange,
            _TranscriptWriter(is_text=is_text),
            lambda emit: self._service.chat(request, emit),
            is_stream=form.texts.get("stream", "").lower() == "true",
        )


def _request(form: MultipartForm) -> ChatRequest:
    model = form.texts.get("model", "")
    if not model:
        raise InvalidRequestError("model is required")
    audio = form.files.get("file")
    if audio is None:
        raise InvalidRequestError("file is required: http: no such file")
    if not audio:
        raise InvalidRequestError("audio file is empty")
    system = _SYSTEM
    if language := form.texts.get("language"):
        system += f" The audio is in {language}."
    if prompt := form.texts.get("prompt"):
        system += f" Context: {prompt}"
    messages = (Message("system", system), Message("user", _QUESTION, images=(audio,)))
    return ChatRequest(InferenceOptions(model, options={"temperature": 0}), messages)


class _TranscriptWriter:
    """Text alone, an object around it, or events of the vendor's stream."""

    stream_type = EVENT_STREAM

    def __init__(self, *, is_text: bool) -> None:
        self._is_text = is_text
        self._streamed: list[str] = []

    def stream(self, chunks: list[Chunk]) -> bytes:
        texts = [chunk.content for chunk in chunks if chunk.content]
        self._streamed += texts
        return b"".join([_event("transcript.text.delta", "delta", text) for text in texts])

    def stream_end(self) -> bytes:
        return _event("transcript.text.done", "text", "".join(self._streamed).strip())

    def stream_error(self, error: CorralError) -> bytes:
        return frame(envelope(status_of(error), text_of(error), hint_of(error)))

    def whole(self, chunks: list[Chunk]) -> tuple[bytes, str]:
        text = "".join([chunk.content for chunk in chunks]).strip()
        if self._is_text:
            return text.encode("utf-8", "replace"), "text/plain; charset=utf-8"
        return encode({"text": text}) + b"\n", JSON

    def immediate(self, answer: Immediate, *, is_stream: bool) -> tuple[bytes, str]:
        return self.whole([])

    def error(self, error: CorralError, *, is_stream: bool) -> tuple[int, bytes, str]:
        return service_error(error)


def _event(kind: str, member: str, text: str) -> bytes:
    return frame(encode({"type": kind, member: text}))
