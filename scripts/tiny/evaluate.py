"""Score a model on the held-out set: `python -m scripts.tiny.evaluate corral-tiny.gguf [--failures]`.

The engine answers at temperature 0; a checker looks for what each dialogue says it must. Prompts are those of
`world.held_out`, none of which occurs in training. Run it where Corral is installed; torch is not needed.
"""

import argparse
import asyncio
import json
import re
from collections import defaultdict
from pathlib import Path

from corral.runner.engine import EngineFactory
from corral.runner.interface import CompletionRequest, EngineChoice, Runner, RunnerSpec
from corral.types import SamplingOptions
from scripts.tiny.chat import render_prompt
from scripts.tiny.dialogues import Dialogue
from scripts.tiny.world import held_out

_CALL = re.compile(r"<tool_call>\s*(\{.*\})\s*</tool_call>", re.DOTALL)
_MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


def is_right(dialogue: Dialogue, reply: str) -> bool:
    """Whether a reply has what the dialogue's checker looks for."""
    reply = reply.strip()
    if dialogue.is_thinking:
        thought, mark, answer = reply.partition("</think>")
        if not mark or not thought.removeprefix("<think>").strip():
            return False
        reply = answer.strip()
    if dialogue.check == "exact":
        return reply == dialogue.completion.rpartition("</think>")[2].strip()
    if dialogue.check == "json":
        return bool(_loads(reply) == dialogue.expected)
    if dialogue.check == "tool":
        match = _CALL.search(reply)
        return match is not None and bool(_loads(match[1]) == dialogue.expected)
    if dialogue.check == "upper" and reply != reply.upper():
        return False
    if dialogue.must:
        return all(word.lower() in reply.lower() for word in dialogue.must) and "<tool_call>" not in reply
    return reply == dialogue.completion.rpartition("</think>")[2].strip()


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


async def _reply(runner: Runner, dialogue: Dialogue) -> str:
    prompt = render_prompt(
        dialogue.messages,
        dialogue.tools,
        enable_thinking=dialogue.is_thinking,
        json_style=dialogue.json_style,
    )
    sampling = SamplingOptions(temperature=0, num_predict=160)
    request = CompletionRequest(prompt, sampling, preserved_tokens=_MARKERS)
    async with runner.complete(request) as batches:
        return "".join([piece.text async for pieces in batches for piece in pieces])


async def score(path: Path, *, shows_failures: bool) -> dict[str, tuple[int, int]]:
    """Right replies and all, by skill."""
    factory = EngineFactory(EngineChoice())
    spec = RunnerSpec(path, "tiny", num_ctx=2048, num_parallel=2, num_thread=1)
    runner = await factory.start(spec, lambda _share: None)
    results: dict[str, list[bool]] = defaultdict(list)
    try:
        dialogues = held_out()
        replies = await asyncio.gather(*(_reply(runner, dialogue) for dialogue in dialogues))
    finally:
        await runner.close()
        factory.close()
    for dialogue, reply in zip(dialogues, replies, strict=True):
        right = is_right(dialogue, reply)
        results[dialogue.skill].append(right)
        if shows_failures and not right:
            asked = dialogue.messages[-1]["content"]
            print(f"{dialogue.skill}: {asked!r}\n  want {dialogue.completion!r}\n  got  {reply!r}")
    return {skill: (sum(marks), len(marks)) for skill, marks in results.items()}


def main() -> None:
    """Parse the command line and print the scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--failures", action="store_true", help="show each wrong reply")
    arguments = parser.parse_args()
    scores = asyncio.run(score(arguments.model.absolute(), shows_failures=arguments.failures))
    for skill, (right, count) in scores.items():
        print(f"| {skill} | {right} of {count} |")
    right = sum(r for r, _ in scores.values())
    count = sum(c for _, c in scores.values())
    print(f"| all | {right} of {count} = {100 * right / count:.1f} % |")


if __name__ == "__main__":
    main()
