"""The built-in renderers by the name that a model's RENDERER gives. Names are matched exactly.

A renderer is a pure function of the conversation; the only fact of the surroundings it may use is the date, which is
looked up here and can be given instead.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corral.chat.rendering import (
    cogito,
    cohere,
    deepseek3,
    functiongemma,
    gemma4,
    glimmer,
    glm,
    laguna,
    lfm2,
    nemotron3,
    olmo3,
    qwen3_5,
    qwen3_coder,
    qwen3_vl,
)
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Think, Tool


@dataclass(frozen=True, slots=True)
class RendererInfo:
    """A renderer. `bos` is what to cut from the front when the tokenizer adds it itself, "" if nothing.

    `think_values`: what `think` may be so that it makes a difference, `think_default`: what it is if nothing is said.
    """

    name: str
    write: Callable[[Conversation], str]
    bos: str = ""
    has_image_tags: bool = False
    think_values: tuple[Think, ...] = (False, True)
    think_default: Think = True

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        think: Think,
        *,
        model_name: str = "",
        parameter_count: int = 0,
        today: datetime.date | None = None,
    ) -> str:
        """Write the prompt. Messages come with their image tags if `has_image_tags`; `today` is the local date.

        Raises:
            TemplateError: the family refuses the conversation, or a value in it is nested too deeply.
        """
        day = datetime.date.today() if today is None else today
        return self.write(Conversation(messages, tools, think, model_name, parameter_count, day))


_LEVELS: tuple[Think, ...] = (False, "low", "medium", "high")
_RENDERERS = {
    info.name: info
    for info in (
        RendererInfo("qwen3-coder", qwen3_coder.render),
        RendererInfo("qwen3-vl-instruct", qwen3_vl.render_instruct, has_image_tags=True),
        RendererInfo("qwen3-vl-thinking", qwen3_vl.render_thinking, has_image_tags=True),
        RendererInfo("qwen3.5", qwen3_5.render_qwen3_5, has_image_tags=True),
        RendererInfo("ornith", qwen3_5.render_ornith, has_image_tags=True),
        RendererInfo("qwen3.8", qwen3_5.render_qwen3_8, "", True, _LEVELS, "medium"),
        # A model that answers typed questions, in Qwen3.5's form.
        RendererInfo("tev1", qwen3_5.render_qwen3_5, has_image_tags=True),
        RendererInfo("cogito", cogito.render, bos=cogito.BOS),
        RendererInfo("deepseek3.1", deepseek3.render, bos=deepseek3.BOS),
        RendererInfo("nemotron-3-nano", nemotron3.render_3, has_image_tags=True),
        RendererInfo(
            "nemotron-3.5-nano",
            nemotron3.render_3_5,
            has_image_tags=True,
            think_values=(False, True, "medium"),
        ),
        RendererInfo("olmo3", olmo3.render_3),
        RendererInfo("olmo3.1", olmo3.render_3_1),
        RendererInfo("olmo3-think", olmo3.render_think, think_values=(True,)),
        RendererInfo("olmo3-32b-think", olmo3.render_32b_think, think_values=(True,)),
        RendererInfo("gemma4", gemma4.render, bos=gemma4.BOS, has_image_tags=True),
        RendererInfo("gemma4-small", gemma4.render_small, bos=gemma4.BOS, has_image_tags=True),
        RendererInfo("gemma4-large", gemma4.render_large, bos=gemma4.BOS, has_image_tags=True),
        RendererInfo("functiongemma", functiongemma.render, bos=functiongemma.BOS),
        RendererInfo("glm-4.7", glm.render_4_7),
        RendererInfo("glm-ocr", glm.render_ocr, has_image_tags=True),
        RendererInfo("lfm2", lfm2.render, bos=lfm2.BOS, has_image_tags=True),
        RendererInfo("lfm2-thinking", lfm2.render_thinking, bos=lfm2.BOS, has_image_tags=True),
        RendererInfo("laguna", laguna.render, bos=laguna.BOS),
        RendererInfo("poolside-v1", laguna.render_poolside_v1, bos=laguna.BOS),
        RendererInfo("cohere", cohere.render, bos=cohere.BOS),
        RendererInfo("glimmer", glimmer.render, glimmer.BOS, True, _LEVELS, "high"),
    )
}


def find_renderer(name: str) -> RendererInfo | None:
    """The renderer of that name, if there is one."""
    return _RENDERERS.get(name)


def renderer_names() -> tuple[str, ...]:
    """All names."""
    return tuple(_RENDERERS)
