"""Tags that models of several families write. A tag of one family is spelled in the family's file alone."""

from __future__ import annotations

OPEN_THINK, CLOSE_THINK = THINK = ("<think>", "</think>")
OPEN_CALL, CLOSE_CALL = CALL = ("<tool_call>", "</tool_call>")
OPEN_RESPONSE, CLOSE_RESPONSE = "<tool_response>", "</tool_response>"
OPEN_TOOLS, CLOSE_TOOLS = "<tools>", "</tools>"
# Calls of Qwen, almost XML: the names follow the beginnings.
FUNCTION, CLOSE_FUNCTION = "<function=", "</function>"
PARAMETER, CLOSE_PARAMETER = "<parameter=", "</parameter>"
# Calls of GLM: a name, then pairs of these.
OPEN_KEY, CLOSE_KEY = "<arg_key>", "</arg_key>"
OPEN_VALUE, CLOSE_VALUE = "<arg_value>", "</arg_value>"
PAIRS = (OPEN_KEY, CLOSE_KEY, OPEN_VALUE, CLOSE_VALUE)
# Turns of ChatML.
OPEN_TURN, CLOSE_TURN = "<|im_start|>", "<|im_end|>"
# The beginning of a text, for all Gemma models and others.
BOS = "<bos>"
# Messages with a header.
START, MESSAGE = "<|start|>", "<|message|>"
