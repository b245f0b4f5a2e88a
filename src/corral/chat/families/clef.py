"""clef, a model that answers typed questions: prompts come from the template in its weights.

A message holds the state and all questions, and then the name of the one that is asked.
Ollama: docs/capabilities/decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from corral.chat.families.family import DecisionForm, Family, Parser
from corral.chat.families.passthrough import create
from corral.types import Question


def ask(state: str, questions: Sequence[Question]) -> Callable[[Question], str]:
    """Also the form for models that were not made to be asked so."""
    schema = [
        {
            "name": each.name,
            "description": each.instructions,
            "choices": [
                {"code": chr(ord("A") + i), "value": option.value, "description": option.description}
                for i, option in enumerate(each.options)
            ],
        }
        for each in questions
    ]
    shared = _escaped({"context": state, "schema": schema})
    return lambda question: f"{shared}\n\nRequested field: {_escaped(question.name)}"


def _escaped(value: Any) -> str:
    """JSON in which no text can end the turn."""
    data = json.dumps(value, ensure_ascii=False)
    return data.replace("<", "\\u003c").replace(">", "\\u003e")


FAMILY = Family(
    parsers=(Parser("clef", create),),
    decision=DecisionForm("clef", ask, takes_images=True, uses_own_template=True),
)
