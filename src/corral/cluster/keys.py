"""Prompts as chains of hashes: two prompts that begin alike have chains that begin alike.

A prompt is cut into pieces where a request could have ended: what was asked, what was answered, what was asked next.
Each piece is cut into blocks, and its last block may be short. So the chain of one request is a beginning of the
chain of the next one of its conversation, however short the messages are. A system prompt is not a piece by itself:
a short one that everybody has would draw all conversations to one node.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from corral.cluster.view import Answers, PromptKeys

BLOCK = 512
MAX_BLOCKS = 128
_KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Prompt:
    """What `Wanted` holds of a prompt; the fields are described there."""

    keys: PromptKeys = ()
    answers: Answers = ()


def seed_of(digest: str, *, images: Collection[str] = (), adapter: str = "", salt: str = "") -> bytes:
    """What a chain begins with: prompts of different models, adapters or tenants have nothing in common.

    Args:
        digest: of the model's manifest.
        images: digests of images, where a text does not hold them at their places.
        salt: of the tenant.
    """
    hasher = blake2b(digest_size=_KEY_BYTES)
    for text in (digest, adapter, salt, *images):
        data = text.encode(errors="surrogatepass")
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.digest()


def prompt_of(
    seed: bytes, pieces: Sequence[bytes], *, block: int = BLOCK, max_blocks: int = MAX_BLOCKS
) -> Prompt:
    """The chain of a conversation.

    Args:
        pieces: what was asked and what was answered in turn, beginning with what was asked.
        max_blocks: after so many keys the rest does not count.
    """
    keys: list[bytes] = []
    answers: list[tuple[int, int]] = []
    last = seed
    for i, piece in enumerate(pieces):
        begin = len(keys)
        for at in range(0, min(len(piece), block * (max_blocks - begin)), block):
            last = blake2b(last + piece[at : at + block], digest_size=_KEY_BYTES).digest()
            keys.append(last)
        if i % 2 and 0 < begin < len(keys):
            answers.append((begin, len(keys)))
        if len(keys) >= max_blocks:
            break
    return Prompt(tuple(keys), tuple(answers))


def prompt_keys(
    seed: bytes, prompt: bytes, *, block: int = BLOCK, max_blocks: int = MAX_BLOCKS
) -> PromptKeys:
    """The chain of a text that is one piece."""
    return prompt_of(seed, [prompt], block=block, max_blocks=max_blocks).keys


def warm_count(count: int, answers: Answers) -> int:
    """How many keys stand for what a node has, if it knows the first `count` of them.

    Whoever knows everything up to an answer was asked just that, and has made the answer itself.
    """
    at = bisect_left(answers, (count + 1, 0)) - 1
    return max(count, answers[at][1]) if at >= 0 else count


def count_for(share: float, total: int, answers: Answers) -> int:
    """The smallest number of keys, at least 1, to know for having this share of a prompt with `total` keys."""
    return max(1, bisect_left(range(total + 1), share * total, key=lambda count: warm_count(count, answers)))
