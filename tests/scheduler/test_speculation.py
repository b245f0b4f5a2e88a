"""How tokens are guessed: by a draft model, by heads, from what came before, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corral.runner.interface import Speculation
from corral.scheduler.placement import plan_load
from corral.scheduler.reuse import difference
from corral.scheduler.spec import LoadRequest, SchedulerConfig
from corral.scheduler.speculation import choose_speculation
from corral.types import LoadOptions
from tests.scheduler.test_placement import cpu_machine, gpu_machine, wish

DRAFT = {"draft_path": Path("/m/draft")}
PLAIN = {"can_rewind": True}
HEADS = {"can_rewind": True, "has_heads": True}


def asked(facts: dict[str, Any], **options: Any) -> LoadRequest:
    return wish(options=LoadOptions(**options), **facts)


def kind(found: Speculation | None) -> tuple[str, int, bool] | None:
    return (found.kind, found.tokens, found.is_automatic) if found else None


@pytest.mark.parametrize(
    ("facts", "options", "setting", "on_gpu", "expected"),
    [
        (PLAIN, {}, None, False, ("ngram-simple", 8, True)),
        (PLAIN, {}, None, True, None),
        (PLAIN, {}, True, True, ("ngram-simple", 8, False)),
        (PLAIN, {}, False, False, None),
        (PLAIN, {"speculation": True}, False, False, ("ngram-simple", 8, False)),
        (PLAIN, {"speculation": False}, True, False, None),
        (PLAIN, {"draft_num_predict": 6}, None, False, ("ngram-simple", 8, True)),  # of no draft model
        ({}, {}, True, False, None),  # a state that cannot go back
        (PLAIN | {"projector_paths": (Path("/m/p"),)}, {}, True, False, None),
        (PLAIN | {"is_embedding": True}, {}, True, False, None),
        (PLAIN | {"has_completion": False}, {}, True, False, None),
        (PLAIN | {"needs_logprobs": True}, {}, True, False, None),
        (HEADS, {}, None, False, ("ngram-simple", 8, True)),
        (HEADS, {}, None, True, ("draft-mtp", 2, True)),
        (HEADS, {}, True, False, ("draft-mtp", 2, False)),
        (HEADS, {"draft_num_predict": 1}, None, False, ("draft-mtp", 1, True)),
        (HEADS, {"draft_num_predict": 0}, None, True, None),
        (PLAIN | DRAFT, {}, None, False, ("draft-simple", 4, False)),
        (DRAFT, {"draft_num_predict": 3}, None, True, ("draft-simple", 3, False)),
        (DRAFT | {"draft_kind": "draft-eagle3"}, {}, None, False, ("draft-eagle3", 4, False)),
        (PLAIN | DRAFT, {"draft_num_predict": 0}, None, False, None),
        (DRAFT, {}, False, False, None),
        (DRAFT | {"needs_logprobs": True}, {}, None, False, None),
    ],
)
def test_the_choice(
    facts: dict[str, Any],
    options: dict[str, Any],
    setting: bool | None,
    on_gpu: bool,
    expected: tuple[str, int, bool] | None,
) -> None:
    """The option of a request before the setting; automatic is what is known to pay."""
    config = SchedulerConfig(speculation=setting)
    assert kind(choose_speculation(asked(facts, **options), config, is_offloaded=on_gpu)) == expected


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        (asked(PLAIN), asked(PLAIN), ""),
        (asked(PLAIN), asked(PLAIN, speculation=True), ""),  # it does
        (asked(PLAIN), asked(PLAIN, speculation=False), "speculation on -> off"),
        (asked(PLAIN, speculation=False), asked(PLAIN), ""),  # left to the server
        (asked(PLAIN, speculation=False), asked(PLAIN, speculation=True), "speculation off -> on"),
        (asked({}, speculation=True), asked({}, speculation=True), ""),  # wanted, and not possible
        (asked(DRAFT), asked(DRAFT, draft_num_predict=4), ""),
        (asked(DRAFT), asked(DRAFT, draft_num_predict=0), "draft_num_predict 4 -> 0"),
        (
            asked(PLAIN),
            asked(PLAIN | {"needs_logprobs": True}),
            "log probabilities, which guessed tokens do not have",
        ),
        (asked(PLAIN | {"needs_logprobs": True}), asked(PLAIN), ""),  # no way back, so that none alternate
        (asked({}), asked({"needs_logprobs": True}), ""),
    ],
)
def test_when_a_runner_has_to_be_loaded_again(have: LoadRequest, want: LoadRequest, expected: str) -> None:
    config, machine = SchedulerConfig(), cpu_machine()
    spec = plan_load(have, config, machine).spec
    assert difference(spec, have, want, config, machine) == expected


def test_a_head_computes_in_a_second_context() -> None:
    """Its buffers are counted; looking back takes none."""
    config, machine = SchedulerConfig(), gpu_machine(24)
    plain, head = (plan_load(asked(facts), config, machine) for facts in (PLAIN, HEADS))
    assert head.spec.speculation is not None and plain.spec.speculation is None
    assert head.estimate.total_bytes > plain.estimate.total_bytes
    on_cpu = plan_load(asked(PLAIN), config, cpu_machine())
    assert on_cpu.spec.speculation == Speculation("ngram-simple", 8, 8, is_automatic=True)
    assert on_cpu.estimate == plan_load(asked(PLAIN, speculation=False), config, cpu_machine()).estimate
