"""Turns between `<|im_start|>` and `<|im_end|>`, and the XML-like tool calls that Qwen3-Coder brought to that format.

Pieces shared by the Qwen, Nemotron, Olmo and LFM families; each family decides itself what a turn holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from corral.chat import marks
from corral.chat.rendering import jsontext
from corral.chat.rendering.conversation import is_run_end, is_run_start
from corral.types import Message, ToolCall

OPEN = marks.OPEN_TURN
CLOSE = f"{marks.CLOSE_TURN}\n"

FUNCTIONS_INTRODUCTION = f"# Tools\n\nYou have access to the following functions:\n\n{marks.OPEN_TOOLS}"
CALL_FORMAT = f"""

If you choose to call a function ONLY reply in the following format with NO suffix:

{marks.OPEN_CALL}
{marks.FUNCTION}example_function_name>
{marks.PARAMETER}example_parameter_1>
value_1
{marks.CLOSE_PARAMETER}
{marks.PARAMETER}example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
{marks.CLOSE_PARAMETER}
{marks.CLOSE_FUNCTION}
{marks.CLOSE_CALL}

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner {marks.FUNCTION}...>{marks.CLOSE_FUNCTION} block must \
be nested within {marks.OPEN_CALL}{marks.CLOSE_CALL} XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, \
but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not \
tell the user about function calls
</IMPORTANT>"""


def format_turn(role: str, content: str) -> str:
    """A whole turn."""
    return f"{OPEN}{role}\n{content}{CLOSE}"


def format_argument(value: Any) -> str:
    """An argument as text: `null`, compact JSON for objects and lists, everything else as it prints."""
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return jsontext.format_json(jsontext.sorted_value(value))
    return jsontext.format_value(value)


def format_call(call: ToolCall, argument: Callable[[Any], str] = format_argument) -> str:
    """A call in XML form, without a line break around it."""
    parameters = "".join(
        f"{marks.PARAMETER}{name}>\n{argument(value)}\n{marks.CLOSE_PARAMETER}\n"
        for name, value in call.arguments.items()
    )
    function = f"{marks.FUNCTION}{call.name}>\n{parameters}{marks.CLOSE_FUNCTION}"
    return f"{marks.OPEN_CALL}\n{function}\n{marks.CLOSE_CALL}"


def format_tool_result(messages: Sequence[Message], i: int, content: str) -> str:
    """A tool's answer; a run of them shares one user turn."""
    opening = f"{OPEN}user" if is_run_start(messages, i) else ""
    closing = CLOSE if is_run_end(messages, i) else ""
    return f"{opening}\n{marks.OPEN_RESPONSE}\n{content}\n{marks.CLOSE_RESPONSE}{closing}"
