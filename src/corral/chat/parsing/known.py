"""The built-in parsers by the name that a model's config gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.chat.parsing import (
    cohere,
    deepseek,
    gemma,
    glimmer,
    glm,
    harmony,
    laguna,
    lfm2,
    mistral,
    olmo,
    qwen,
)
from corral.chat.parsing.events import OutputParser
from corral.chat.parsing.glm_call import GLM_ARGUMENT_TAGS
from corral.chat.parsing.passthrough import create_passthrough
from corral.types import Message, Think, Tool

_Create = Callable[[Sequence[Tool], Message | None, Think], OutputParser]


@dataclass(frozen=True, slots=True)
class ParserInfo:
    """A family's parser. `preserved_tokens`: special tokens that the engine has to show in the text."""

    name: str
    has_tools: bool
    has_thinking: bool
    preserved_tokens: tuple[str, ...]
    create: _Create


_THINK = ("<think>", "</think>")
_TOOL_CALL = ("<tool_call>", "</tool_call>")
_QWEN = _THINK + _TOOL_CALL
_QWEN_VL = ("</think>", *_TOOL_CALL)
_MINISTRAL = ("[TOOL_CALLS]", "[THINK]", "[/THINK]", "[ARGS]")
_COGITO = ("</think>", *deepseek.CALL_MARKERS, *deepseek.OUTPUTS_MARKERS)
_DEEPSEEK = ("</think>", *deepseek.CALL_MARKERS)
_GEMMA4 = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", '<|"|>')
_FUNCTIONGEMMA = ("<start_function_call>", "<end_function_call>")
_GLM = _THINK + _TOOL_CALL + GLM_ARGUMENT_TAGS
_LFM2 = (*_THINK, "<|tool_call_start|>", "<|tool_call_end|>")
_LAGUNA = (*_THINK, *_TOOL_CALL, "<user>", "</user>", *GLM_ARGUMENT_TAGS)
_OLMO3 = ("<function_calls>", "</function_calls>")

# Name, tools, thinking, tokens, parser.
_PARSERS = {
    info.name: info
    for info in (
        ParserInfo("qwen3", True, False, _QWEN, qwen.create_qwen3),
        ParserInfo("qwen3-thinking", True, True, _QWEN, qwen.create_qwen3_thinking),
        ParserInfo("qwen3.5", True, True, _QWEN, qwen.create_qwen35),
        ParserInfo("tev1", True, True, _QWEN, qwen.create_qwen35),
        ParserInfo("ornith", True, True, _QWEN, qwen.create_qwen35),
        ParserInfo("qwen3-coder", True, False, _TOOL_CALL, qwen.create_qwen3_coder),
        ParserInfo("qwen3-vl-instruct", True, False, _QWEN_VL, qwen.create_qwen3_vl),
        ParserInfo("qwen3-vl-thinking", True, True, _QWEN_VL, qwen.create_qwen3_vl_thinking),
        ParserInfo("ministral", True, False, _MINISTRAL, mistral.create_ministral),
        ParserInfo("passthrough", False, False, (), create_passthrough),
        ParserInfo("clef", False, False, (), create_passthrough),
        ParserInfo("harmony", True, True, harmony.HARMONY_TAGS, harmony.create_harmony),
        ParserInfo("cogito", True, True, _COGITO, deepseek.create_cogito),
        ParserInfo("deepseek3", True, True, _DEEPSEEK, deepseek.create_deepseek3),
        ParserInfo("olmo3", True, False, _OLMO3, olmo.create_olmo3),
        ParserInfo("olmo3-think", False, True, ("</think>",), olmo.create_olmo3_think),
        ParserInfo("nemotron-3-nano", True, True, _QWEN, qwen.create_nemotron),
        ParserInfo("nemotron-3.5-nano", True, True, _QWEN, qwen.create_nemotron),
        ParserInfo("functiongemma", True, False, _FUNCTIONGEMMA, gemma.create_functiongemma),
        ParserInfo("glm-4.7", True, True, _GLM, glm.create_glm47),
        ParserInfo("glm-ocr", True, False, _GLM, glm.create_glm_ocr),
        ParserInfo("gemma4", True, True, _GEMMA4, gemma.create_gemma4),
        ParserInfo("gemma4-no-thinking", True, False, _GEMMA4, gemma.create_gemma4_no_thinking),
        ParserInfo("lfm2", True, False, _LFM2, lfm2.create_lfm2),
        ParserInfo("lfm2-thinking", True, True, _LFM2, lfm2.create_lfm2_thinking),
        ParserInfo("laguna", True, True, _LAGUNA, laguna.create_laguna),
        ParserInfo("poolside-v1", True, True, _LAGUNA, laguna.create_poolside),
        ParserInfo("cohere", True, True, cohere.COHERE_TAGS, cohere.create_cohere),
        ParserInfo("glimmer", True, True, glimmer.GLIMMER_TAGS, glimmer.create_glimmer),
    )
}


def find_parser(name: str) -> ParserInfo | None:
    return _PARSERS.get(name)


def parser_names() -> tuple[str, ...]:
    return tuple(_PARSERS)
