"""`bench`: measures prompt processing and generation at several numbers of concurrent requests.

Everything is measured at the client, from a stream: the first token when it arrives, the rate from the first token to
the last. Prompts are sent raw and consist of random words, whose number is calibrated with a trial request. They
differ from their first words on, so that no prompt cache helps. Each level begins with a short warm-up round that is
not counted; the medians of the rounds after it are reported.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corral.cli.frame.flags import Arguments, UsageError
from corral.cli.http.client import Client
from corral.cli.terminal.json_output import print_json
from corral.cli.terminal.progress import Progress
from corral.cli.terminal.screen import is_terminal, terminal_size
from corral.cli.terminal.tables import screen_table, screen_text
from corral.cli.tools.sampling import (
    ATTEMPTS,
    Sample,
    Settings,
    calibrated,
    make_prompt,
    nothing_to_measure,
    rate_of,
    request,
)

_WARM_UP_TOKENS = 8
_BAR_CHARACTERS = 40
_TUNING_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Round:
    """Figures of concurrent requests; rates in tokens per second.

    `prompt_rate`: all prompt tokens over the time until the last request had its first token. `decode_rate` and
    `first_token_ms`: the median request. `total_rate`: all tokens over the time from the first one to the last.
    """

    prompt_rate: float
    first_token_ms: float
    decode_rate: float
    total_rate: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Round:
        begin_s = min(sample.started_s for sample in samples)
        reading_s = max(sample.first_s for sample in samples) - begin_s
        first_s = min(sample.first_s for sample in samples)
        writing_s = max(sample.last_s for sample in samples) - first_s
        # The tokens of the very first packet open the span, so they are not part of it.
        written = sum(s.tokens for s in samples) - min(samples, key=_first_time).first_tokens
        return cls(
            prompt_rate=rate_of(sum(sample.prompt_tokens for sample in samples), reading_s),
            first_token_ms=1000 * statistics.median(s.first_s - s.started_s for s in samples),
            decode_rate=statistics.median([s.rate for s in samples if s.tokens > 1] or [0.0]),
            total_rate=rate_of(written, writing_s) if writing_s else sum(s.rate for s in samples),
        )

    @classmethod
    def median(cls, rounds: Sequence[Round]) -> Round:
        return cls(
            *(
                statistics.median(getattr(each, name) for each in rounds)
                for name in ("prompt_rate", "first_token_ms", "decode_rate", "total_rate")
            )
        )


def _first_time(sample: Sample) -> float:
    return sample.first_s


def bench(client: Client, arguments: Arguments) -> None:
    levels = _levels(arguments.get("concurrency", "1,2,4,8"))
    numbers = {
        name: arguments.integer(name, default)
        for name, default in (("prompt-tokens", 512), ("tokens", 128), ("rounds", 3), ("seed", 1))
    }
    for name in ("prompt-tokens", "tokens", "rounds"):
        if numbers[name] < (2 if name == "tokens" else 1):
            raise UsageError(f"--{name} is too small")
    if arguments.has("tune"):
        from corral.cli.tools.tune import tune

        tune(client, arguments, {**numbers, "rounds": arguments.integer("rounds", _TUNING_ROUNDS)})
        return
    model = arguments.words[0]
    version = client.call("GET", "/api/version")["version"]
    results = []
    with Progress() as progress:
        progress.status(f"loading {model}")
        settings = calibrated(client, model, numbers)
        for level in levels:

            def report(text: str, level: int = level) -> None:
                progress.status(f"{level} concurrent: {text}", replace=True)

            results.append((level, *_measure(client, settings, level, report)))
    if arguments.has("json"):
        print_json(
            {
                "server_version": version,
                "settings": asdict(settings),
                "results": [_result_json(*result) for result in results],
            }
        )
        return
    samples = [sample for _, _, samples in results for sample in samples]
    _print_report(settings, [(level, Round.median(rounds)) for level, rounds, _ in results], samples)


def _levels(text: str) -> list[int]:
    try:
        levels = [int(part) for part in text.split(",")]
    except ValueError:
        levels = []
    if not levels or not all(1 <= level <= 256 for level in levels):
        raise UsageError(
            f'invalid argument "{text}" for "--concurrency" flag: numbers from 1 to 256, like 1,2,4,8'
        )
    return levels


def _measure(
    client: Client, settings: Settings, level: int, report: Callable[[str], None]
) -> tuple[list[Round], list[Sample]]:
    rounds: list[Round] = []
    samples: list[Sample] = []
    nonce = time.time_ns()
    for number in range(settings.rounds + 1):
        is_warm_up = number == 0
        report("warm-up" if is_warm_up else f"round {number} of {settings.rounds}")
        tokens = min(_WARM_UP_TOKENS, settings.tokens) if is_warm_up else settings.tokens
        for attempt in range(ATTEMPTS):
            places = [f"{level}/{number}/{i}{f'/{attempt}' if attempt else ''}" for i in range(level)]
            prompts = [make_prompt(settings, place, nonce) for place in places]
            measured = measure_round(client, settings, prompts, tokens)
            if measured:
                break
        else:
            raise nothing_to_measure(settings.model)
        if not is_warm_up:
            rounds.append(Round.of(measured))
            samples += measured
    return rounds, samples


def measure_round(client: Client, settings: Settings, prompts: Sequence[str], tokens: int) -> list[Sample]:
    """Send all prompts at the same moment; responses without tokens are left out.

    Raises:
        APIError, NoServerError: of the first request that failed.
    """
    samples: list[Sample] = []
    errors: list[Exception] = []
    start = threading.Barrier(len(prompts))

    def work(prompt: str) -> None:
        try:
            start.wait()
            sample = request(client, settings, prompt, tokens)
            if sample is not None:
                samples.append(sample)
        except Exception as error:  # raised again in the waiting thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(prompt,), daemon=True) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return samples


def _result_json(level: int, rounds: list[Round], samples: list[Sample]) -> dict[str, Any]:
    return {
        "concurrency": level,
        "median": asdict(Round.median(rounds)),
        "rounds": [asdict(each) for each in rounds],
        "prompt_tokens": statistics.median(sample.prompt_tokens for sample in samples),
        "tokens": statistics.median(sample.tokens for sample in samples),
    }


def _print_report(settings: Settings, medians: list[tuple[int, Round]], samples: list[Sample]) -> None:
    prompt_tokens = statistics.median(sample.prompt_tokens for sample in samples)
    tokens = statistics.median(sample.tokens for sample in samples)
    print(
        screen_text(
            f"{settings.model}: prompts of {prompt_tokens:.0f} tokens, responses of {tokens:.0f}, "
            f"median of {settings.rounds} rounds after a warm-up, seed {settings.seed}, measured at the client"
        )
    )
    if missing := sum(level for level, _ in medians) * settings.rounds - len(samples):
        print(screen_text(f"note: {missing} responses had no tokens and are not counted"))
    if tokens < settings.tokens:
        print(screen_text(f"note: responses ended before the requested {settings.tokens} tokens"))
    if prompt_tokens < 0.9 * settings.prompt_tokens:
        print(screen_text("note: prompts were truncated; use a larger num_ctx or a smaller --prompt-tokens"))
    rows = [
        (
            str(level),
            f"{each.prompt_rate:.0f}",
            f"{each.first_token_ms:.0f} ms",
            f"{each.decode_rate:.1f}",
            f"{each.total_rate:.1f}",
        )
        for level, each in medians
    ]
    header = ("CONCURRENT", "PROMPT TOK/S", "FIRST TOKEN", "TOK/S EACH", "TOK/S ALL")
    print(f"\n{screen_table(rows, header=header)}")
    width = _BAR_CHARACTERS
    if is_terminal(sys.stdout):
        width = min(max(terminal_size(sys.stdout)[0] - 20, 10), 60)
    levels = [level for level, _ in medians]
    print(plot("tokens/s of all requests together", levels, [r.total_rate for _, r in medians], width))
    print(plot("first token, milliseconds", levels, [r.first_token_ms for _, r in medians], width), end="")


def plot(title: str, levels: Sequence[int], values: Sequence[float], width: int) -> str:
    """Bars from zero, one per line, in eighths of a character."""
    top = max(values) or 1.0
    lines = [title]
    for level, value in zip(levels, values, strict=True):
        whole, rest = divmod(round(8 * width * value / top), 8)
        bar = "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
        lines.append(f"{level:>4} {bar} {value:.4g}")
    return "\n".join(lines) + "\n"
