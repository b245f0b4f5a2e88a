"""Train `corral-tiny` from nothing: `python -m tiny.train --out FOLDER --minutes 30`.

Draws the dialogues, learns the tokenizer, trains on the assistant's words only, and writes `tokenizer.json`,
`model.pt` and `train.json` (time, steps, seed) to the folder. Sequences of like length share a batch.

Invariant: seeds fix the data, its order and the first weights; only the number of steps depends on the machine, unless
`--steps` fixes it.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from tiny import tokenizer as bpe
from tiny.chat import render_prompt
from tiny.model import Llama, ModelConfig
from tiny.world import plain_text, training_dialogues

_SPACE_WORDS = 100
_MAX_TOKENS = 1024
_IGNORED = -100
_Sample = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]


def _texts(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield prompt and completion; plain text has an empty prompt."""
    rng = Random(seed + 1)
    for dialogue in islice(training_dialogues(seed), count):
        prompt = render_prompt(
            dialogue.messages,
            dialogue.tools,
            enable_thinking=dialogue.is_thinking,
            json_style=dialogue.json_style,
        )
        yield prompt, dialogue.completion + "<|im_end|>"
        if rng.random() < 0.02:
            yield "", plain_text(rng) + "<|endoftext|>"


class _Masker:
    """Marks the tokens that the model must learn to write: the assistant's, but not what the template writes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._end = tokenizer.token_to_id("<|im_end|>")
        self._call = tokenizer.token_to_id("<tool_call>")
        self._opening = tokenizer.encode("<|im_start|>assistant\n<think>\n\n</think>\n\n").ids

    def labels(self, prompt: list[int], completion: list[int]) -> list[int]:
        """Label the completion and the earlier replies of the prompt, calls excepted: servers may reformat those."""
        marks = [_IGNORED] * len(prompt) + completion
        opening = self._opening
        at = 0
        while at < len(prompt):
            if prompt[at : at + len(opening)] != opening:
                at += 1
                continue
            at += len(opening)
            is_call = at < len(prompt) and prompt[at] == self._call
            while at < len(prompt):
                if not is_call:
                    marks[at] = prompt[at]
                at += 1
                if prompt[at - 1] == self._end:
                    break
        return marks


def _encode(pairs: list[tuple[str, str]], tokenizer: Tokenizer) -> list[_Sample]:
    masker = _Masker(tokenizer)
    prompts = tokenizer.encode_batch([prompt for prompt, _ in pairs])
    completions = tokenizer.encode_batch([completion for _, completion in pairs])
    samples: list[_Sample] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = prompt.ids + completion.ids
        if len(ids) <= _MAX_TOKENS:
            samples.append(
                (np.array(ids, np.int32), np.array(masker.labels(prompt.ids, completion.ids), np.int32))
            )
    return samples


def _batches(samples: list[_Sample], tokens: int, rng: Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield padded (ids, labels) of about `tokens` tokens, lengths alike within a batch, batches in random order."""
    while True:
        order = sorted(range(len(samples)), key=lambda index: (len(samples[index][0]) // 4, rng.random()))
        groups: list[list[int]] = [[]]
        for index in order:
            if groups[-1] and (len(groups[-1]) + 1) * len(samples[index][0]) > tokens:
                groups.append([])
            groups[-1].append(index)
        rng.shuffle(groups)
        for group in groups:
            width = max(len(samples[index][0]) for index in group)
            ids, labels = (
                torch.zeros(len(group), width, dtype=torch.long),
                torch.full((len(group), width), _IGNORED),
            )
            for row, index in enumerate(group):
                sample, marks = samples[index]
                ids[row, : len(sample)] = torch.from_numpy(sample)
                labels[row, : len(marks)] = torch.from_numpy(marks)
            yield ids, labels


def _loss(model: Llama, ids: Tensor, labels: Tensor) -> Tensor:
    targets = labels[:, 1:].reshape(-1)
    is_wanted = targets != _IGNORED
    states = model.hidden_states(ids[:, :-1]).reshape(-1, model.config.width)[is_wanted]
    return F.cross_entropy(F.linear(states, model.token_embd.weight), targets[is_wanted])


def _optimizers(model: Llama) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    return [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.02, adjust_lr_fn="original", ns_steps=4),
        torch.optim.AdamW(others, lr=0.004, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(done: float) -> float:
    """Learning-rate factor at a share of the run: short warm-up, then a cosine down to 2 %."""
    return done / 0.02 if done < 0.02 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - 0.02) / 0.98))


def _train(model: Llama, samples: list[_Sample], args: argparse.Namespace) -> dict[str, float | int]:
    optimizers = _optimizers(model)
    base = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    batches, start, seen, smooth, step = (
        _batches(samples, args.batch_tokens, Random(args.seed + 2)),
        time.monotonic(),
        0,
        0.0,
        0,
    )
    while True:
        done = step / args.steps if args.steps else (time.monotonic() - start) / (60 * args.minutes)
        if done >= 1:
            break
        for optimizer, rate in zip(optimizers, base, strict=True):
            optimizer.param_groups[0]["lr"] = args.rate * rate * _rate(done)
        ids, labels = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = _loss(model, ids, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += ids.numel()
        smooth = loss.item() if step == 1 else 0.98 * smooth + 0.02 * loss.item()
        if step % args.log_every == 0:
            seconds = time.monotonic() - start
            print(
                f"step {step} loss {smooth:.4f} {seen / seconds:.0f} tok/s {100 * done:.1f} % {seconds:.0f} s",
                flush=True,
            )
        if step % 200 == 0:
            _save(model, args.out)
    return {
        "steps": step,
        "tokens": seen,
        "seconds": round(time.monotonic() - start),
        "loss": round(smooth, 4),
    }


def _save(model: Llama, out: Path) -> None:
    torch.save({"config": model.config.as_dict(), "weights": model.state_dict()}, out / "model.pt")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--steps", type=int, default=0, help="exact number of steps, instead of --minutes")
    parser.add_argument("--dialogues", type=int, default=200_000)
    parser.add_argument("--batch-tokens", type=int, default=6144)
    parser.add_argument("--layers", type=int, default=ModelConfig().layers)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument(
        "--resume", type=Path, help="folder of an earlier run to go on from, with its tokenizer"
    )
    parser.add_argument(
        "--rate", type=float, default=1.0, help="factor of the learning rate (lower to go on)"
    )
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    config = ModelConfig(layers=args.layers)
    started = time.monotonic()
    pairs = list(_texts(args.seed, args.dialogues))
    if args.resume:
        tokenizer = bpe.load(args.resume / "tokenizer.json")
        tokenizer.save(str(args.out / "tokenizer.json"))
    else:
        sample_texts = [prompt + completion for prompt, completion in pairs[:20_000]]
        tokenizer = bpe.train(sample_texts, config.vocab, _SPACE_WORDS, args.out / "tokenizer.json")
    samples = _encode(pairs, tokenizer)
    prepared = time.monotonic() - started
    lengths = [len(ids) for ids, _ in samples]
    print(
        f"{len(samples)} samples, {np.mean(lengths):.0f} tokens each, longest {max(lengths)}, ready in {prepared:.0f} s",
        flush=True,
    )
    model = Llama(config)
    if args.resume:
        model.load_state_dict(torch.load(args.resume / "model.pt", weights_only=True)["weights"])
    parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{parameters} parameters", flush=True)
    facts = _train(model, samples, args)
    _save(model, args.out)
    record = {
        "parameters": parameters,
        "seed": args.seed,
        "prepare_seconds": round(prepared),
        "threads": args.threads,
        **facts,
    }
    record["load_average"] = os.getloadavg()[2]
    (args.out / "train.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
