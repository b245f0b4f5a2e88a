"""Requests to an engine beside completions and vectors: the tokens of texts, and the texts of tokens.

The engine gives every connection a thread, and does not stop when a caller hangs up. So only a few questions are
asked at a time, a place is free again when the engine is done, and a long text is sent in parts: the time that the
engine's search for special tokens takes grows with the square of their number.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

# Tokenising uses one core.
_AT_A_TIME = 2
PART_CHARS = 1 << 16
_MAX_TEXTS = 1024
# A part ends at a blank between two words, if its last letters have one.
_WINDOW_CHARS = 2048
_BETWEEN_WORDS = re.compile(r"(?<=\S) (?=\S)")
_BYTES_OF_A_LETTER = 4
# No token has this id: it separates the tokens of several texts in one answer.
_SEPARATOR = -1

_Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Questions:
    """Asks a few questions at a time. `ask` sends a body to a route and returns the answer."""

    def __init__(self, ask: _Ask, *, part_tokens: int = 1 << 16) -> None:
        self._ask = ask
        self._part_tokens = part_tokens
        self._places = asyncio.Semaphore(_AT_A_TIME)
        self._asked: set[asyncio.Task[Any]] = set()
        # Whether a blank between words belongs to neither of them: the tokenizer puts one before each text.
        self.drops_blanks = False
        # What the tokenizer puts around a text by itself.
        self.bos_id: int | None = None
        self.eos_id: int | None = None

    async def tokens(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """The tokens of a text that is short enough for one question."""
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        answer = await self._put("/tokenize", body)
        tokens: list[int] = answer["tokens"]
        return tokens

    async def tokens_of_parts(self, text: str, *, add_special: bool, parse_special: bool) -> array[int]:
        """The tokens of a text of any length."""
        tokens = array("i", [self.bos_id] if add_special and self.bos_id is not None else ())
        for part in split_text(text, drops_blanks=self.drops_blanks):
            tokens.extend(await self.tokens(part, add_special=False, parse_special=parse_special))
        if add_special and self.eos_id is not None:
            tokens.append(self.eos_id)
        return tokens

    async def tokens_of_each(self, texts: Sequence[str], *, parse_special: bool) -> list[Sequence[int]]:
        """The tokens of many texts, without those that frame them, in few questions."""
        found: list[Sequence[int]] = []
        for group in _groups(texts):
            if len(group[0]) > PART_CHARS:
                found.append(
                    await self.tokens_of_parts(group[0], add_special=False, parse_special=parse_special)
                )
            else:
                found += await self._tokens_of_group(group, parse_special=parse_special)
        return found

    async def _tokens_of_group(self, texts: Sequence[str], *, parse_special: bool) -> list[list[int]]:
        content: list[str | int] = []
        for text in texts:
            content += (text, _SEPARATOR)
        body = {"content": content, "add_special": False, "parse_special": parse_special}
        tokens: list[int] = (await self._put("/tokenize", body))["tokens"]
        found, start = [], 0
        for _ in texts:
            end = tokens.index(_SEPARATOR, start)
            found.append(tokens[start:end])
            start = end + 1
        return found

    async def pieces(
        self, text: str, *, add_special: bool, parse_special: bool
    ) -> list[tuple[int, str | list[int]]]:
        """The tokens of a text and what each stands for: its text, or its bytes if those are not text."""
        found: list[tuple[int, str | list[int]]] = []
        parts = list(split_text(text, drops_blanks=self.drops_blanks))
        for i, part in enumerate(parts):
            body = {
                "content": part,
                "add_special": add_special,
                "parse_special": parse_special,
                "with_pieces": True,
            }
            entries: list[dict[str, Any]] = (await self._put("/tokenize", body))["tokens"]
            if add_special and i and entries and entries[0]["id"] == self.bos_id:
                del entries[0]
            if add_special and i < len(parts) - 1 and entries and entries[-1]["id"] == self.eos_id:
                del entries[-1]
            found += [(entry["id"], entry["piece"]) for entry in entries]
        return found

    async def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens. A letter whose bytes are in several tokens is never cut."""
        texts, start = [], 0
        while start < len(tokens):
            end = start + self._part_tokens
            text = await self._text_of_part(tokens[start:end])
            for _ in range(_BYTES_OF_A_LETTER - 1):
                if end >= len(tokens) or not text.endswith("\N{REPLACEMENT CHARACTER}"):
                    break
                end -= 1
                text = await self._text_of_part(tokens[start:end])
            texts.append(text)
            start = end
        return "".join(texts)

    async def _text_of_part(self, tokens: Sequence[int]) -> str:
        text: str = (await self._put("/detokenize", {"tokens": list(tokens)}))["content"]
        return text

    async def _put(self, path: str, body: dict[str, Any]) -> Any:
        """Ask when there is a place; a caller who leaves after that leaves the place taken until the answer."""
        await self._places.acquire()
        task = asyncio.ensure_future(self._ask(path, body))
        self._asked.add(task)
        task.add_done_callback(self._note_answer)
        return await asyncio.shield(task)

    def _note_answer(self, task: asyncio.Future[Any]) -> None:
        self._asked.discard(task)
        self._places.release()
        if not task.cancelled():
            task.exception()  # nobody awaits it if the caller has left


def split_text(text: str, *, drops_blanks: bool, part_chars: int = PART_CHARS) -> Iterator[str]:
    """Parts of a text whose tokens, one after the other, are those of the whole, as far as it has words.

    With `drops_blanks` the blank at a cut is left out. A text without blanks is cut anywhere.
    """
    start = 0
    while len(text) - start > part_chars:
        end = start + part_chars
        blank = next(_BETWEEN_WORDS.finditer(text, end - min(_WINDOW_CHARS, part_chars // 2), end + 1), None)
        if blank is None:
            yield text[start:end]
            start = end
        else:
            yield text[start : blank.start()]
            start = blank.end() if drops_blanks else blank.start()
    yield text[start:]


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts that go into one question together; one that is too long for it comes alone."""
    group: list[str] = []
    size = 0
    for text in texts:
        if group and (size + len(text) > PART_CHARS or len(group) >= _MAX_TEXTS):
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    if group:
        yield group
