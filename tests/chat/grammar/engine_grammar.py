"""The engine's own grammars, without a model: compiled and fed with characters through the symbols of its library."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import xllamacpp

__all__ = ["EngineGrammar"]

_STACK_BYTES = 24  # a std::vector


def _library() -> Any:
    (path,) = Path(xllamacpp.__file__).parent.glob("*.so")
    library: Any = ctypes.CDLL(str(path))
    library.init = library["_Z23llama_grammar_init_implPK11llama_vocabPKcS3_bPS3_mPKim"]
    library.init.restype = ctypes.c_void_p
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.init.argtypes = [
        pointer,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_bool,
        pointer,
        size,
        pointer,
        size,
    ]
    library.accept = library["_Z20llama_grammar_acceptP13llama_grammarj"]
    library.accept.argtypes = [pointer, ctypes.c_uint32]
    library.stacks = library["_Z24llama_grammar_get_stacksP13llama_grammar"]
    library.stacks.restype = ctypes.POINTER(ctypes.c_void_p)
    library.stacks.argtypes = [pointer]
    library.free = library["_Z23llama_grammar_free_implP13llama_grammar"]
    library.free.argtypes = [pointer]
    return library


class EngineGrammar:
    """A compiled grammar. Raises ValueError when the engine refuses it; it tells why on stderr."""

    def __init__(self, text: str) -> None:
        self._library = _library()
        self._text = text.encode()
        self._pointer = self._library.init(None, self._text, b"root", False, None, 0, None, 0)
        if not self._pointer:
            raise ValueError("the engine refuses the grammar")

    def feed(self, text: str) -> bool:
        """Take characters; whether all of them are allowed."""
        for char in text:
            self._library.accept(self._pointer, ord(char))
            if not self.stack_count:
                return False
        return True

    @property
    def stack_count(self) -> int:
        vector = self._library.stacks(self._pointer)
        return int(((vector[1] or 0) - (vector[0] or 0)) // _STACK_BYTES)

    @property
    def may_end(self) -> bool:
        """Whether the text so far is a whole one: some stack is empty."""
        vector = self._library.stacks(self._pointer)
        start = vector[0] or 0
        inner = ctypes.cast(start, ctypes.POINTER(ctypes.c_void_p))
        return any(inner[3 * i] == inner[3 * i + 1] for i in range(self.stack_count))

    def close(self) -> None:
        self._library.free(self._pointer)
