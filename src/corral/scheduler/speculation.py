"""Whether and how a load guesses tokens ahead of the model, which then verifies several in one step.

The engine decides it once, when it loads: no field of a request turns it on or off. Pure.
"""

from __future__ import annotations

from corral.runner.interface import Speculation
from corral.scheduler.spec import LoadRequest, SchedulerConfig

_DRAFT_TOKENS = 4
# Each costs a run of the head; what comes after a wrong one is lost.
_HEAD_TOKENS = 2
# The shorter the match, the more guesses are wrong: each costs 1.5 steps of the model. The engine guesses at least as
# many tokens as it had to find, and more than 15 at a time cost as much as they save. See docs/benchmarks.md.
_MATCH_TOKENS = 8
_LOOKUP_TOKENS = 8


def choose_speculation(
    request: LoadRequest, config: SchedulerConfig, *, is_offloaded: bool
) -> Speculation | None:
    """How tokens are guessed; None: they are not.

    The request's own option comes before the setting. A guessed token has no log probability in the engine.
    """
    asked = config.speculation if request.options.speculation is None else request.options.speculation
    if asked is False or request.needs_logprobs or not request.has_completion:
        return None
    is_automatic = asked is None
    if tokens := draft_tokens(request, is_wanted=bool(asked) or is_offloaded):
        if request.draft_path is not None:
            return Speculation(request.draft_kind, tokens)
        return Speculation("draft-mtp", tokens, is_automatic=is_automatic)
    if is_automatic and is_offloaded:
        return None  # whether it pays on a GPU was not measured
    if not request.can_rewind or request.projector_paths or request.draft_path or request.is_embedding:
        return None
    return Speculation("ngram-simple", _LOOKUP_TOKENS, _MATCH_TOKENS, is_automatic)


def draft_tokens(request: LoadRequest, *, is_wanted: bool = False) -> int:
    """Tokens that a draft model proposes at a time, or heads of the model, which do so only if it `is_wanted`."""
    wanted = request.options.draft_num_predict
    if request.draft_path is not None:
        return _DRAFT_TOKENS if wanted is None else wanted
    if wanted is not None or not is_wanted:
        return (wanted or 0) if request.has_heads else 0
    return _HEAD_TOKENS if request.has_heads else 0


def difference(speculation: Speculation | None, origin: LoadRequest, request: LoadRequest) -> list[str]:
    """What keeps a runner with this speculation, started for `origin`, from serving `request`.

    A request that leaves it to the server takes any.
    """
    if request.needs_logprobs:
        return ["log probabilities, which guessed tokens do not have"] if speculation else []
    wanted = request.options.speculation
    found = []
    if wanted not in (None, origin.options.speculation, speculation is not None):
        found.append("speculation off -> on" if wanted else "speculation on -> off")
    before, after = _shown_tokens(origin), _shown_tokens(request)
    if before != after and origin.draft_path == request.draft_path:
        found.append(f"draft_num_predict {before} -> {after}")
    return found


def _shown_tokens(request: LoadRequest) -> int:
    """As Ollama counts them: 0 by default without a separate draft model."""
    wanted = request.options.draft_num_predict
    return draft_tokens(request) if wanted is None else wanted
