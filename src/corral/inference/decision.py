"""Typed questions about a state, answered with probabilities: decision models, by the letters of their options.

Each option of a question is a letter, which is one token. The model is shown state and question, and how likely each
letter is as the next token is the answer. Nothing is generated. Ollama: `/v1/systemone`, docs/capabilities/decision.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corral.chat.families import clef
from corral.chat.families.family import DecisionForm
from corral.chat.families.known import decision_form
from corral.errors import CapabilityError, ContextOverflowError, InvalidRequestError
from corral.golang.quote import quoted
from corral.inference import prompting
from corral.inference.capabilities import has_decision_head
from corral.inference.generation import Turn, chat_prompt
from corral.inference.images import prepare_images
from corral.inference.profile import ModelProfile
from corral.runner.interface import Runner
from corral.types import Message, Question

# No token of a real vocabulary is longer: what is beyond need not be counted to be too long.
_MAX_TOKEN_CHARS = 256
# How models are asked that chat, and were not made to be asked.
CHAT_FORM = DecisionForm("", clef.ask)


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """`state` as text (None: there is none, which only images make up for). `wire` is the body as it was sent."""

    model: str
    state: str | None
    questions: tuple[Question, ...]
    images: tuple[bytes, ...] = ()
    keep_alive_ns: int | None = None
    wire: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """The probability of each option, and how concentrated they are: 0 is uniform, 1 is sure."""

    question: Question
    probabilities: tuple[float, ...]

    @property
    def best(self) -> int:
        """The likeliest option; of equal ones the first."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def score(self) -> float:
        """The mean position of the options."""
        return math.fsum(i * share for i, share in enumerate(self.probabilities))

    @property
    def confidence(self) -> float:
        entropy = -math.fsum(share * math.log(share) for share in self.probabilities if share > 0)
        return min(max(1 - entropy / math.log(len(self.probabilities)), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """The answers in the order of the questions, or `native`: those of the engine, if the model has a head for them.

    Counts in tokens; what all questions share counts for each.
    """

    answers: tuple[Answer, ...]
    input_count: int
    output_count: int
    cached_count: int
    native: Mapping[str, Any] | None = None


def check_request(profile: ModelProfile, request: DecisionRequest) -> None:
    """Refuse what the model cannot answer. A model that chats may be asked too, if it was not made for this.

    Raises:
        CapabilityError, InvalidRequestError
    """
    form = form_of(profile)
    if not {"decision", "completion"} & set(profile.capabilities):
        raise CapabilityError(f"{quoted(request.model)} does not support decision")
    sees = form.takes_images or has_decision_head(profile.gguf) or profile.has_projector
    if request.images and not sees:
        raise InvalidRequestError("this decision model does not support images")
    if not (request.state or "").strip() and not (request.images and request.state is None):
        text = "must be a string, object, or array" if request.state is None else "must not be empty"
        raise InvalidRequestError(f"state {text}")
    for question in request.questions:
        where = f"question {quoted(question.name)}"
        if not 2 <= len(question.options) <= form.max_options:
            raise InvalidRequestError(f"{where}: criteria must contain 2–{form.max_options} candidates")
        if form.needs_descriptions and any(option.description == "" for option in question.options):
            raise InvalidRequestError(f"{where}: descriptions must not be empty")


def form_of(profile: ModelProfile) -> DecisionForm:
    """How the model is asked."""
    return decision_form(profile.model.config.renderer) or CHAT_FORM


async def decide(turn: Turn, request: DecisionRequest) -> DecisionResult:
    """Answer the questions one after the other: what they share is in the prompt cache from the first one on.

    Raises:
        ContextOverflowError: nothing is cut.
        CapabilityError: letters are not tokens of this model.
        EngineError, RunnerExitedError, QueueFullError, TemplateError
    """
    if has_decision_head(turn.profile.gguf):
        return _native_result(await turn.runner.decide(json.loads(request.wire.decode("utf-8", "replace"))))
    codes = await _codes(turn.runner, max(len(question.options) for question in request.questions))
    images = await prepare_images(request.images) if turn.profile.has_projector else request.images
    ask = form_of(turn.profile).ask(request.state or "", request.questions)
    answers: list[Answer] = []
    input_count = output_count = cached_count = 0
    for i, question in enumerate(request.questions):
        content = ask(question)
        if len(content) > turn.num_ctx * _MAX_TOKEN_CHARS:
            raise ContextOverflowError(
                f"the request of {len(content)} characters exceeds the context of {turn.num_ctx} tokens",
                num_ctx=turn.num_ctx,
            )
        prompt = await _rendered(turn, Message("user", content, images=tuple(images)))
        scores = await turn.runner.score(
            prompt.text, codes[: len(question.options)], prompt.images, is_continued=i > 0
        )
        answers.append(Answer(question, scores.probabilities))
        input_count += scores.prompt_count
        output_count += scores.predicted_count
        cached_count += scores.cached_count
    return DecisionResult(tuple(answers), input_count, output_count, cached_count)


async def _rendered(turn: Turn, message: Message) -> prompting.Prompt:
    prompt = await chat_prompt(turn, prompting.chat_messages(turn.profile, [message]), ())
    text = prompting.without_doubled_bos(prompt.text, turn.profile.chat, turn.runner)
    text, images = prompting.with_media_markers(text, prompt.images, turn.runner.facts.media_marker)
    return prompting.Prompt(text, tuple(images))


async def _codes(runner: Runner, count: int) -> list[int]:
    """The tokens of the first letters."""
    letters = [chr(ord("A") + i) for i in range(count)]
    tokens = await runner.tokenize_many(letters)
    if any(len(found) != 1 for found in tokens) or len({found[0] for found in tokens}) < count:
        raise CapabilityError("this model cannot answer: its tokenizer has no tokens for single letters")
    return [found[0] for found in tokens]


def _native_result(answer: Mapping[str, Any]) -> DecisionResult:
    usage: Any = answer.get("usage")
    counts: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
    return DecisionResult(
        (),
        int(counts.get("input_tokens", 0)),
        int(counts.get("output_tokens", 0)),
        int(counts.get("cached_tokens", 0)),
        native=answer.get("answers", {}),
    )
