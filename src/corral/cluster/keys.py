"""Prompts as chains of hashes: two prompts that begin alike have chains that begin alike.

The unit is a block of bytes. The first block is cut into eighths, so that chats of a few sentences have keys too;
what comes after it is counted in whole blocks, which is what a long prompt costs to compute anyway.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from hashlib import blake2b

from corral.cluster.view import PromptKeys

BLOCK = 512
MAX_BLOCKS = 128
# Parts of the first block.
PARTS = 8
_KEY_BYTES = 8


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


def prompt_keys(
    seed: bytes, prompt: bytes, *, block: int = BLOCK, max_blocks: int = MAX_BLOCKS
) -> PromptKeys:
    """The chain of a prompt; bytes after the last whole unit, and after `max_blocks` blocks, do not count.

    Args:
        block: bytes, at least `PARTS`.
    """
    part = block // PARTS
    ends = [*range(part, part * PARTS, part), *range(block, min(len(prompt), block * max_blocks) + 1, block)]
    keys: list[bytes] = []
    begin, last = 0, seed
    for end in ends:
        if end > len(prompt):
            break
        last = blake2b(last + prompt[begin:end], digest_size=_KEY_BYTES).digest()
        keys.append(last)
        begin = end
    return tuple(keys)


def parts_of(count: int) -> int:
    """How much of a prompt the first `count` keys stand for, in eighths of a block."""
    return count if count <= PARTS else (count - PARTS + 1) * PARTS


def share_of(count: int, total: int) -> float:
    """How much of a prompt with `total` keys the first `count` of them stand for, 0 to 1."""
    return parts_of(count) / parts_of(total) if total else 0.0


def count_for(share: float, total: int) -> int:
    """The smallest number of keys, at least 1, that stands for this share of a prompt with `total` keys."""
    wanted = share * parts_of(total)
    return max(1, bisect_left(range(total + 1), wanted, key=parts_of))
