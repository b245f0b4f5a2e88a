"""A conversation in the terminal: python3 chat.py --model NAME [--system TEXT]"""

from __future__ import annotations

import argparse
import sys

import ollama


def answer(model: str, messages: list[dict[str, str]]) -> str:
    """Print the answer as it arrives; Ctrl-C keeps what there is, and the server stops writing it."""
    pieces: list[str] = []
    try:
        for part in ollama.chat(model=model, messages=messages, stream=True):
            text = part.message.content or ""
            print(text, end="", flush=True)
            pieces.append(text)
    except KeyboardInterrupt:
        pass
    print()
    return "".join(pieces)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--system", default="")
    arguments = parser.parse_args()
    messages = [{"role": "system", "content": arguments.system}] if arguments.system else []
    prompt = ">>> " if sys.stdin.isatty() else ""
    while True:
        try:
            question = input(prompt)
        except (EOFError, KeyboardInterrupt):
            return 0
        if not question.strip():
            continue
        messages.append({"role": "user", "content": question})
        try:
            messages.append({"role": "assistant", "content": answer(arguments.model, messages)})
        except (ollama.ResponseError, ConnectionError) as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    raise SystemExit(main())
