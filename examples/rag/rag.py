"""Answers from a folder of notes: python3 rag.py FOLDER QUESTION [--model NAME] [--embedder NAME]"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ollama

NEAREST = 3
PROMPT = """Answer the question from these notes alone. Say so if they do not hold the answer.

{notes}

Question: {question}"""


def paragraphs(folder: Path) -> Iterator[tuple[str, str]]:
    """The paragraphs of all text files, with the file's name."""
    for file in sorted([*folder.rglob("*.md"), *folder.rglob("*.txt")]):
        for text in file.read_text(encoding="utf-8").split("\n\n"):
            if text.strip() and not text.startswith("#"):
                yield str(file.relative_to(folder)), text.strip()


class Index:
    """Vectors of paragraphs by their hash, in a file."""

    def __init__(self, file: Path, embedder: str) -> None:
        self._db = sqlite3.connect(file)
        self._db.execute("CREATE TABLE IF NOT EXISTS vectors (hash TEXT PRIMARY KEY, vector BLOB)")
        self._embedder = embedder

    def vectors(self, texts: list[str]) -> np.ndarray:
        """One row per text, of length 1; only texts that are not in the file are embedded."""
        hashes = [hashlib.sha256(f"{self._embedder}\0{text}".encode()).hexdigest() for text in texts]
        known = {name for (name,) in self._db.execute("SELECT hash FROM vectors")}
        new = {name: text for name, text in zip(hashes, texts, strict=True) if name not in known}
        if new:
            made = ollama.embed(model=self._embedder, input=list(new.values())).embeddings
            rows = [
                (name, np.asarray(vector, np.float32).tobytes())
                for name, vector in zip(new, made, strict=True)
            ]
            with self._db:
                self._db.executemany("INSERT INTO vectors VALUES (?, ?)", rows)
        found = dict(self._db.execute("SELECT hash, vector FROM vectors"))
        matrix = np.stack([np.frombuffer(found[name], np.float32) for name in hashes])
        unit: np.ndarray = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        return unit

    def close(self) -> None:
        self._db.close()


def nearest(index: Index, notes: list[tuple[str, str]], question: str) -> list[tuple[str, str]]:
    matrix = index.vectors([text for _, text in notes])
    scores = matrix @ index.vectors([question])[0]
    return [notes[number] for number in np.argsort(-scores)[:NEAREST]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("question")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--embedder", default="nomic-embed-text")
    parser.add_argument("--index", type=Path, default=Path("index.sqlite3"))
    arguments = parser.parse_args()
    index = Index(arguments.index, arguments.embedder)
    found = nearest(index, list(paragraphs(arguments.folder)), arguments.question)
    index.close()
    notes = "\n\n".join(f"[{name}] {text}" for name, text in found)
    asked = PROMPT.format(notes=notes, question=arguments.question)
    for part in ollama.chat(
        model=arguments.model, messages=[{"role": "user", "content": asked}], stream=True
    ):
        print(part.message.content, end="", flush=True)
    print("\n\nFrom: " + ", ".join(dict.fromkeys(name for name, _ in found)))


if __name__ == "__main__":
    main()
