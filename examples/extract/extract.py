"""Facts from texts as typed objects: python3 extract.py [--model NAME] < texts"""

from __future__ import annotations

import argparse
import sys
from typing import Literal

import ollama
from pydantic import BaseModel, Field


class Person(BaseModel):
    """What is wanted of each text."""

    name: str = Field(max_length=80)
    age: int = Field(ge=0, le=130)
    occupation: str = Field(max_length=80)
    mood: Literal["good", "bad", "unknown"]


def extract(model: str, text: str) -> Person:
    response = ollama.chat(
        model=model,
        messages=[{"role": "user", "content": f"Extract the person that this text is about.\n\n{text}"}],
        format=Person.model_json_schema(),
        options={"temperature": 0},
        think=False,
    )
    return Person.model_validate_json(response.message.content or "")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="llama3.2")
    arguments = parser.parse_args()
    for line in sys.stdin:
        if line.strip():
            print(extract(arguments.model, line.strip()).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
