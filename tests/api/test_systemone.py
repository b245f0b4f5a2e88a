"""`/v1/systemone`: what is asked, what the model is shown, what is answered; its numbers against the logits."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.api.systemone.protocol import read_systemone
from corral.chat.families.known import decision_form
from corral.errors import InvalidRequestError
from corral.inference.decision import CHAT_FORM, Answer, DecisionRequest
from corral.runner import scoring
from corral.runner.engine import EngineRunner
from corral.runner.factory import EngineFactory
from corral.runner.interface import EngineChoice, RunnerSpec
from corral.types import Option, Question
from tests.conftest import FIXTURES, Server

MAX_DEPTH = 100
REFUND = {"type": "noul", "instructions": "Refund requested?"}
URGENCY = {"type": "score", "instructions": "How urgent?", "criteria": ["low", "mid", "high"]}
LABEL = {"type": "choice", "instructions": "Which?", "criteria": {"billing": "Charges", "bug": None}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def body(**members: Any) -> dict[str, Any]:
    return {"model": "m", "state": "Charged twice.", "questions": {"refund": REFUND}} | members


def read(**members: Any) -> DecisionRequest:
    return read_systemone(json.dumps(body(**members), ensure_ascii=False).encode(), MAX_DEPTH)


def test_questions() -> None:
    """Each kind has its options; what is not described is its own description, or No and Yes."""
    request = read(questions={"z": LABEL, "refund": REFUND, "a": URGENCY})
    assert [question.name for question in request.questions] == ["z", "refund", "a"]
    label, refund, urgency = request.questions
    assert label.options == (Option("billing", "Charges"), Option("bug", "bug"))
    assert refund.options == (Option(False, "No"), Option(True, "Yes"))
    assert urgency.options == (Option("0", "low"), Option("1", "mid"), Option("2", "high"))


def test_structured_content() -> None:
    """State and instructions are compact JSON in the spelling that was sent; descriptions have sorted members."""
    raw = (
        b'{"model": "m", "state": {"z": 9007199254740993, "a": [1.0, 1e6, -0, "\xe2\x82\xac  x"]},'
        b' "questions": {"q": {"type": "noul", "instructions": {"rule": "x?", "n": [1]},'
        b' "criteria": {"true": {"z": 1, "a": 2}, "false": null}}}}'
    )
    request = read_systemone(raw, MAX_DEPTH)
    assert request.state == '{"z":9007199254740993,"a":[1.0,1e6,-0,"€  x"]}'
    (question,) = request.questions
    assert question.instructions == '{"rule":"x?","n":[1]}'
    assert json.dumps([option.description for option in question.options]) == '["No", {"a": 2, "z": 1}]'


@pytest.mark.parametrize(
    "members",
    [
        {"model": ""},
        {"model": " "},
        {"questions": {}},
        {"questions": None},
        {"questions": {str(i): REFUND for i in range(65)}},
        {"questions": []},
        {"questions": {"x": []}},
        {"questions": {"x": None}},
        {"questions": {"": REFUND}},
        {"questions": {" ": REFUND}},
        {"questions": {"x": {"type": "other", "instructions": "q"}}},
        {"questions": {"x": {"instructions": "q"}}},
        {"questions": {"x": {"type": "noul"}}},
        {"questions": {"x": {"type": "noul", "instructions": " "}}},
        {"questions": {"x": {"type": "noul", "instructions": 5}}},
        {"questions": {"x": {**REFUND, "criteria": {"yes": "Yes"}}}},
        {"questions": {"x": {**REFUND, "criteria": {"true": 42}}}},
        {"questions": {"x": {**REFUND, "criteria": ["a", "b"]}}},
        {"questions": {"x": {**LABEL, "criteria": ["a", "b"]}}},
        {"questions": {"x": {**LABEL, "criteria": {"": "a", "b": "b"}}}},
        {"questions": {"x": {**LABEL, "criteria": {"a": 1, "b": "b"}}}},
        {"questions": {"x": {**URGENCY, "criteria": {"a": "b"}}}},
        {"questions": {"x": {**URGENCY, "criteria": ["a", None]}}},
        {"state": 5},
        {"state": True},
        {"images": "x"},
        {"images": ["x"]},
        {"images": ["data:image/png;base64," + PIXEL]},
        {"images": ["https://example.org/a.png"]},
        {"keep_alive": "soon"},
    ],
    ids=lambda members: json.dumps(members)[:50],
)
def test_refused(members: dict[str, Any]) -> None:
    """Whatever the model, these mean nothing."""
    with pytest.raises(InvalidRequestError):
        read(**members)


def test_prompts() -> None:
    """Character for character what the two families were trained on."""
    state = 'Paid €20 & <tag>. Literal \\u2028, quote " and colon: comma,'
    request = read(state=state)
    (question,) = request.questions
    tev1 = decision_form("tev1")
    assert tev1 is not None
    assert tev1.ask(state, request.questions)(question) == (
        '{"state": "Paid €20 & <tag>. Literal \\\\u2028, quote \\" and colon: comma,",'
        ' "question": "Refund requested?", "options": [{"label": "A", "key": "false", "description": "No"},'
        ' {"label": "B", "key": "true", "description": "Yes"}]}'
    )
    assert CHAT_FORM.ask(state, request.questions)(question) == (
        '{"context": "Paid €20 & \\u003ctag\\u003e. Literal \\\\u2028, quote \\" and colon: comma,",'
        ' "schema": [{"name": "refund", "description": "Refund requested?", "choices": [{"code": "A",'
        ' "value": false, "description": "No"}, {"code": "B", "value": true, "description": "Yes"}]}]}'
        '\n\nRequested field: "refund"'
    )


def test_every_question_is_shown_the_whole_schema() -> None:
    """In the order that was sent; the last line says which one is asked."""
    request = read(state={"n": 1}, questions={"b": LABEL, "a": URGENCY})
    prompts = [*map(CHAT_FORM.ask(request.state or "", request.questions), request.questions)]
    data = [prompt.partition("\n\nRequested field: ")[0] for prompt in prompts]
    assert data[0] == data[1]
    assert [prompt.rpartition(": ")[2] for prompt in prompts] == ['"b"', '"a"']
    decoded = json.loads(data[0])
    assert decoded["context"] == '{"n":1}'
    assert [field["name"] for field in decoded["schema"]] == ["b", "a"]
    assert decoded["schema"][1]["choices"][2] == {"code": "C", "value": "2", "description": "high"}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=26).filter(lambda shares: sum(shares) > 0.01))
def test_answers(shares: list[float]) -> None:
    """Within their bounds, whatever the distribution."""
    total = math.fsum(shares)
    options = tuple(Option(str(i), "") for i in range(len(shares)))
    answer = Answer(Question("q", "score", "", options), tuple(share / total for share in shares))
    assert 0 <= answer.confidence <= 1
    assert -1e-9 <= answer.score <= len(shares) - 1 + 1e-9
    assert shares[answer.best] == pytest.approx(max(shares), rel=1e-12)  # as probabilities they may be equal
    assert answer.best == shares.index(max(shares))


def test_confidence() -> None:
    """Zero where all options are alike, one where there is no doubt; of equal options the first is chosen."""
    question = Question("q", "choice", "", (Option("a", ""), Option("b", "")))
    assert Answer(question, (0.5, 0.5)).confidence == 0
    assert Answer(question, (0.5, 0.5)).best == 0
    assert Answer(question, (0.0, 1.0)).confidence == 1
    wanted = 1 + (0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert Answer(question, (0.9, 0.1)).confidence == pytest.approx(wanted)


async def compare_with_logits(weights: Path, prompt: str) -> None:
    """The scores of letters against the log probabilities of the whole vocabulary."""
    factory = EngineFactory(EngineChoice())
    spec = RunnerSpec(weights_path=weights, weights_key="w", num_ctx=512)
    runner = await factory.start(spec, lambda _share: None)
    try:
        assert isinstance(runner, EngineRunner)
        tokens = [found[0] for found in await runner.tokenize_many([chr(65 + i) for i in range(26)])]
        scores = await runner.score(prompt, tokens)
        raw: dict[str, Any] = {
            "prompt": prompt,
            "n_predict": 1,
            "n_probs": 100_000,
            "stream": False,
            "logit_bias": [[tokens[0], 1000]],  # a token of whole characters, so that there is an entry
        }
        answer = await runner.request_json("/completion", raw)
        entries = answer["completion_probabilities"][0]["top_logprobs"]
        logprobs = {entry["id"]: entry["logprob"] for entry in entries}
    finally:
        await runner.close()
        factory.close()
    peak = max(logprobs[token] for token in tokens)
    weights_of = [math.exp(logprobs[token] - peak) for token in tokens]
    wanted = [weight / math.fsum(weights_of) for weight in weights_of]
    assert scores.probabilities == pytest.approx(wanted, abs=2e-5)
    assert math.fsum(scores.probabilities) == pytest.approx(1)
    assert scores.predicted_count == 1


@pytest.mark.process
@pytest.mark.parametrize("fixture", ["tiny", "say", "script"])
@pytest.mark.parametrize("prompt", ["Hello there", "A", "The answer is"])
def test_scores_are_those_of_the_logits(fixture: str, prompt: str) -> None:
    """Also of models that are all but certain of another token."""
    asyncio.run(compare_with_logits(FIXTURES / f"{fixture}.gguf", prompt))


def test_scores_that_are_no_scores() -> None:
    """An answer without all candidates, or without numbers, is none."""
    timings = {"cache_n": 1, "prompt_n": 2}

    def answer(**shares: Any) -> dict[str, Any]:
        entries = [{"id": int(name[1:]), "prob": share} for name, share in shares.items()]
        return {
            "completion_probabilities": [{"top_probs": entries}],
            "timings": timings,
            "tokens_predicted": 1,
        }

    assert scoring.read_scores(answer(t1=0.5), [1, 2]) is None
    assert scoring.read_scores(answer(t1=None, t2=0.5), [1, 2]) is None
    assert scoring.read_scores(answer(t1=0.0, t2=0.0), [1, 2]) is None
    scores = scoring.read_scores(answer(t2=0.6, t1=0.2), [1, 2])
    assert scores is not None
    assert scores.probabilities == pytest.approx((0.25, 0.75))
    assert (scores.prompt_count, scores.cached_count) == (3, 1)


@pytest.fixture(scope="module")
def tiny(server: Server) -> Server:
    """The shared server with `corral-tiny` and models that were made for this."""
    assert server.stream("/api/pull", {"model": "corral-tiny"})[-1] == {"status": "success"}
    server.create("decides", "tiny", info={"capabilities": ["decision"]})
    return server


def ask(server: Server, **members: Any) -> tuple[int, dict[str, Any]]:
    status, data = server.request("POST", "/v1/systemone", body(model="corral-tiny") | members)
    return status, json.loads(data)


def test_an_answer(tiny: Server) -> None:
    """Of each kind, in the order of the questions, with the counts of tokens."""
    status, answer = ask(tiny, questions={"z": LABEL, "refund": REFUND, "urgency": URGENCY})
    assert status == 200
    assert list(answer) == ["model", "answers", "usage", "prompt_eval_cached_count"]
    assert list(answer["answers"]) == ["z", "refund", "urgency"]
    label, refund, urgency = answer["answers"].values()
    assert list(label) == ["type", "choice", "probabilities", "confidence"]
    assert list(label["probabilities"]) == ["billing", "bug"]
    assert math.fsum(label["probabilities"].values()) == pytest.approx(1)
    assert label["choice"] == max(label["probabilities"], key=label["probabilities"].__getitem__)
    assert list(refund) == ["type", "noul"]
    assert 0 <= refund["noul"] <= 1
    assert list(urgency) == ["type", "score", "legend", "probabilities", "confidence"]
    assert urgency["legend"] == {"0": "low", "1": "mid", "2": "high"}
    shares = urgency["probabilities"]
    assert urgency["score"] == pytest.approx(shares["1"] + 2 * shares["2"])
    assert answer["usage"]["output_tokens"] == 3
    # What the questions share is computed once.
    assert answer["prompt_eval_cached_count"] > answer["usage"]["input_tokens"] // 3


def test_a_model_that_was_made_for_it(tiny: Server) -> None:
    """It says so, and does nothing else."""
    assert tiny.post("/api/show", {"model": "decides"})["capabilities"] == ["decision"]
    entry = next(m for m in tiny.get("/api/tags")["models"] if m["name"] == "decides:latest")
    assert entry.get("capabilities", ["decision"]) == ["decision"]
    assert ask(tiny, model="decides")[0] == 200
    status, data = tiny.request("POST", "/api/chat", {"model": "decides", "messages": [{"role": "user"}]})
    assert status == 400
    assert json.loads(data) == {"error": '"decides" does not support chat'}


@pytest.mark.parametrize(
    ("members", "status", "text"),
    [
        ({"model": "nobody"}, 404, "model 'nobody' not found"),
        ({"model": "big:cloud"}, 403, "ollama cloud is disabled: remote model is unavailable"),
        ({"model": "embed"}, 400, '"embed" does not support decision'),
        ({"state": ""}, 400, "state must not be empty"),
        ({"state": " \n"}, 400, "state must not be empty"),
        ({"state": None}, 400, "state must be a string, object, or array"),
        ({"images": [PIXEL]}, 400, "this decision model does not support images"),
        (
            {"questions": {"x": {**URGENCY, "criteria": ["x"] * 27}}},
            400,
            'question "x": criteria must contain 2–26 candidates',
        ),
        (
            {"questions": {"x": {**URGENCY, "criteria": ["x"]}}},
            400,
            'question "x": criteria must contain 2–26 candidates',
        ),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_errors(tiny: Server, members: dict[str, Any], status: int, text: str) -> None:
    """In the native form, each with an id of its own."""
    assert ask(tiny, **members) == (status, {"error": text})


def test_a_state_that_is_too_long(tiny: Server) -> None:
    """Nothing is cut, and a body has a bound."""
    status, answer = ask(tiny, state="word " * 5000)
    assert status == 400
    assert "exceeds the available context size" in answer["error"]
    status, answer = ask(tiny, state="word " * 2_000_000)
    assert (status, answer["error"].rpartition(" exceeds ")[2]) == (400, "the context of 2048 tokens")
    raw = json.dumps(body(state="x" * (33 << 20))).encode()
    status, data = tiny.request("POST", "/v1/systemone", raw)
    assert status == 413
    assert json.loads(data)["error"] == "request body must not exceed 32 MiB"


def test_26_options(tiny: Server) -> None:
    """All letters."""
    criteria = {f"option {i}": None for i in range(26)}
    status, answer = ask(tiny, questions={"x": {**LABEL, "criteria": criteria}})
    assert status == 200
    assert len(answer["answers"]["x"]["probabilities"]) == 26


def test_pictures_must_be_pictures() -> None:
    """Base64 of a kind that models see."""
    assert read(images=[PIXEL]).images == (base64.b64decode(PIXEL),)
