"""A question for each row of a CSV file: python3 batch.py IN OUT QUESTION [--model NAME] [--parallel N]"""

from __future__ import annotations

import argparse
import asyncio
import csv
import sys
from pathlib import Path

import ollama


async def ask(client: ollama.AsyncClient, model: str, question: str) -> str:
    response = await client.chat(
        model=model,
        messages=[{"role": "user", "content": question}],
        think=False,
        options={"temperature": 0},
    )
    return (response.message.content or "").strip()


def rows_of(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


async def run(rows: list[dict[str, str]], target: Path, question: str, model: str, parallel: int) -> None:
    """Answer the rows that the target does not have yet. It has them in the order of the source."""
    done = len(rows_of(target))
    client, slots = ollama.AsyncClient(), asyncio.Semaphore(parallel)

    async def one(row: dict[str, str]) -> str:
        async with slots:
            return await ask(client, model, question.format(**row))

    tasks = [asyncio.create_task(one(row)) for row in rows[done:]]
    with target.open("a", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, [*rows[0], "answer"])
        if not done:
            writer.writeheader()
        for row, task in zip(rows[done:], tasks, strict=True):
            writer.writerow({**row, "answer": await task})
            lines.flush()
    print(f"{len(tasks)} answered, {done} were there", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("question", help="with {column} for a value of the row")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--parallel", type=int, default=4)
    arguments = parser.parse_args()
    rows = rows_of(arguments.source)
    if not rows:
        print(f"Error: {arguments.source} has no rows", file=sys.stderr)
        return 1
    asyncio.run(run(rows, arguments.target, arguments.question, arguments.model, arguments.parallel))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
