"""Runs of the engine that make one reply: mostly one; two where thinking is free or bounded and the answer is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from corral.chat.parsing.events import OutputParser
from corral.errors import ContextOverflowError, DeadlineError
from corral.inference import constraint, prompting
from corral.inference.chats import Quirks
from corral.inference.completion import CompletionRun
from corral.inference.generation import Turn, chat_prompt
from corral.inference.images import prepare_images
from corral.inference.one_run import OneRun, one_run
from corral.inference.requests import Emit
from corral.inference.run_log import log_run
from corral.inference.thinking import (
    AnswerLimit,
    ThinkingEndedError,
    ThinkingRun,
    counted_whole,
    within_budget,
)
from corral.runner.interface import CompletionRequest
from corral.types import Chunk, Message, SamplingOptions, Think, Tool


async def chat_reply(
    turn: Turn,
    prompt: prompting.Prompt,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    choice: str,
    emit: Emit,
) -> Chunk | None:
    """One run, or two: a format must not bind the thinking before the answer, and that may have a budget."""
    last = messages[-1] if messages else None
    is_free = bool(
        not constraint.is_forced(choice)
        and turn.think
        and turn.profile.chat.replies.reads_thinking
        and "thinking" in turn.profile.capabilities
    )
    is_delayed = is_free and constraint.is_bound(turn.common)
    if is_free and not is_delayed and turn.common.think_budget is not None:
        return await _within_budget(turn, prompt, messages, tools, turn.common.think_budget, emit)
    if not is_delayed:
        return await complete(turn, prompt, tools, last, turn.think, emit, False, choice)
    return await _thought_first(turn, prompt, messages, tools, choice, emit)


async def _thought_first(
    turn: Turn,
    prompt: prompting.Prompt,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    choice: str,
    emit: Emit,
) -> Chunk | None:
    """Thinking that nothing binds, then the bound answer: also when the thinking ended without one.

    Each of the two has the whole `num_predict`. One run where the grammar can tell where the answer begins.
    """
    await constraint.check_answer(turn.common)
    last = messages[-1] if messages else None
    chat = turn.profile.chat

    def new_reader() -> OutputParser | None:
        return chat.replies.reader(prompt.text, tools, last, turn.think, is_strict=bool(turn.common.format))

    plan = await one_run(chat, turn.common, tools, new_reader)
    run = ThinkingRun(emit)
    watched: Emit = run.until_content if plan is None else run.pass_on
    if turn.common.think_budget is not None:
        watched = within_budget(watched, [], turn.common.think_budget)
    free = turn if plan is not None else replace(turn, common=replace(turn.common, format="", grammar=""))
    first = None
    try:
        first = await complete(free, prompt, tools, last, turn.think, watched, False, choice, plan)
        if plan is not None and plan.is_answered(first):
            return first
        if first is not None and (first.tool_calls or run.has_called or first.done_reason == "deadline"):
            return first
        if first is not None and first.thinking:
            thought, first.thinking = first.thinking, ""
            await watched([Chunk(thinking=thought)])
    except ThinkingEndedError:
        pass
    after = prompt
    try:
        if run.thinking:
            after = await _after_thinking(turn, prompt, messages, tools, run)
        final = await complete(turn, after, (), None, False, emit, False)
    except ContextOverflowError:
        if first is None:
            raise
        return first  # thinking has filled the context
    except DeadlineError:
        if first is None:
            raise
        first.done_reason = "deadline"
        return first
    return await _counted_whole(turn, prompt, run, first, final)


async def _within_budget(
    turn: Turn,
    prompt: prompting.Prompt,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    budget: int,
    emit: Emit,
) -> Chunk | None:
    """A run that thinks, and when that takes too long another one that continues after the thinking."""
    last = messages[-1] if messages else None
    run = ThinkingRun(emit)
    try:
        watched = within_budget(run.pass_on, [], budget)
        return await complete(turn, prompt, tools, last, turn.think, watched, False)
    except ThinkingEndedError:
        pass
    after = await _after_thinking(turn, prompt, messages, tools, run)
    limit = turn.sampling.num_predict
    rest = turn
    if limit > 0:
        left = replace(turn.sampling, num_predict=max(limit - len(run.thinking), 1))
        rest = replace(turn, sampling=left)
    final = await complete(rest, after, tools, None, False, emit, False)
    return await _counted_whole(turn, prompt, run, None, final)


async def _after_thinking(
    turn: Turn,
    prompt: prompting.Prompt,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    run: ThinkingRun,
) -> prompting.Prompt:
    """The prompt of the run that answers after `run` has thought."""
    chat, thought = turn.profile.chat, "".join(run.thinking)
    is_bound = constraint.is_bound(turn.common)
    # Templates in weights do not show the thinking of a last answer.
    text = chat.replies.closed_thinking(
        prompt.text, thought, is_rendered=not chat.template_in_weights, has_start=is_bound
    )
    if text is not None:
        return replace(prompt, text=text)
    after = await chat_prompt(turn, [*messages, Message("assistant", thinking=thought)], tools)
    return replace(after, text=after.text + chat.quirks.answer_start) if is_bound else after


async def _counted_whole(
    turn: Turn, prompt: prompting.Prompt, run: ThinkingRun, first: Chunk | None, final: Chunk | None
) -> Chunk | None:
    """The end of a second run, with the counts of one reply. `first`: the end of the first run, if it had one."""
    if final is None:
        return None
    prompt_ns, eval_ns = run.durations_ns(first)
    if first is not None and first.metrics is not None:
        return counted_whole(final, first.metrics.prompt_eval_count, prompt_ns, eval_ns)
    if prompt.images:
        return final
    text = prompting.without_doubled_bos(prompt.text, turn.profile.chat, turn.runner)
    count = len(await turn.runner.tokenize(text, add_special=True))
    return counted_whole(final, count, prompt_ns, eval_ns)


async def complete(
    turn: Turn,
    prompt: prompting.Prompt,
    tools: Sequence[Tool],
    last_message: Message | None,
    think: Think,
    emit: Emit,
    wants_context: bool,
    choice: str = "auto",
    plan: OneRun | None = None,
) -> Chunk | None:
    """Run the engine once; returns the last chunk (None: the reply ended without one). `plan`: how it is bound."""
    profile, runner = turn.profile, turn.runner
    chat, quirks = profile.chat, profile.chat.quirks
    text = prompting.without_doubled_bos(prompt.text, chat, runner)
    text, images = prompting.with_media_markers(text, prompt.images, runner.facts.media_marker)
    if profile.has_projector:  # without one the engine refuses them, whatever they are
        images = await prepare_images(images)
    content: str | list[int] = text
    cut_count = prompt.dropped_count
    if not images:
        content, token_count = await prompting.fit_tokens(
            text,
            runner,
            turn.sampling,
            num_ctx=turn.num_ctx,
            # A chat by the file's own template goes to the engine as it is, which refuses what does not fit.
            is_allowed=turn.may_truncate and (wants_context or quirks.cuts_prompts),
            has_shift=turn.has_shift,
        )
        cut_count += token_count

    def new_parser() -> OutputParser | None:
        return chat.replies.reader(text, tools, last_message, think, is_strict=bool(turn.common.format))

    if plan is None:
        binding = constraint.binding_of(chat, turn.common, tools, choice, think, new_parser())
        grammar = await constraint.bound_grammar(binding)
        # Nothing but the answer is possible then, whatever the prompt began. Tags in JSON are text.
        is_answer_only = bool(grammar.text) and not binding.calls
        is_text = is_answer_only and (bool(binding.format) or constraint.begins_thinking(new_parser()))
        parser = None if is_text else new_parser()
    else:
        binding, grammar, parser = plan.binding, plan.grammar, plan.read_with(new_parser())
    log_run(profile, content, len(images), cut_count, binding)
    sampling = _sampling_for(turn.sampling, quirks)
    limit = None
    if plan is not None and plan.reader is not None and sampling.num_predict > 0:
        limit = AnswerLimit(sampling.num_predict, plan.reader)
        sampling = replace(sampling, num_predict=2 * sampling.num_predict)
    run = CompletionRun(
        runner,
        CompletionRequest(
            content,
            sampling,
            images,
            grammar=grammar.text,
            top_logprobs=turn.common.top_logprobs if turn.common.logprobs else None,
            preserved_tokens=chat.replies.preserved_tokens(tools),
            logit_bias=turn.common.logit_bias,
            wants_counts=limit is not None,
        ),
        turn.stopwatch,
        emit,
        parser=parser,
        truncated_count=cut_count,
        wants_text=wants_context,
        has_repeat_guard=quirks.guards_repeats,
        emits_empty=wants_context and quirks.emits_empty_chunks,
        limit=limit,
    )
    final = await run.run()
    if final is not None:
        final.format_unenforced = grammar.unheld
    if final is not None and wants_context:
        final.context = tuple(await runner.tokenize(prompt.text + run.text))
    return final


def _sampling_for(sampling: SamplingOptions, quirks: Quirks) -> SamplingOptions:
    return sampling if sampling.num_predict else replace(sampling, num_predict=quirks.zero_predicts)
