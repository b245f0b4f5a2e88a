"""What Corral knows about how one family of models talks, as one value."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from corral.chat.parsing.call_forms import CallForm
from corral.chat.parsing.events import OutputParser
from corral.chat.rendering.conversation import Conversation
from corral.types import Message, Question, Think, Tool

LEVELS: tuple[Think, ...] = ("low", "medium", "high")
SWITCH: tuple[Think, ...] = (False, True)


@dataclass(frozen=True, slots=True)
class Renderer:
    """A built-in renderer: a pure function of the conversation and the date.

    `bos`: what to cut from the front when the tokenizer adds it itself, "" if nothing.
    `think_values`: the values of `think` that make a difference, `think_default`: the one that counts if none is
    given.
    """

    name: str
    write: Callable[[Conversation], str]
    bos: str = ""
    has_image_tags: bool = False
    think_values: tuple[Think, ...] = SWITCH
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


@dataclass(frozen=True, slots=True)
class Parser:
    """A built-in parser.

    `tokens`: special tokens that the engine has to show in the text, because the parser looks for them.
    `calls`: the grammar of the family's tool calls; None: it reads none.
    `think_values`: what `think` may be, where the family decides and not the template.
    """

    name: str
    create: Callable[[Sequence[Tool], Message | None, Think], OutputParser]
    tokens: tuple[str, ...] = ()
    calls: CallForm | None = None
    has_thinking: bool = False
    think_values: tuple[Think, ...] = ()

    @property
    def has_tools(self) -> bool:
        return self.calls is not None


@dataclass(frozen=True, slots=True)
class Sign:
    """A chat template that has all of `marks` is of a model whose replies the parser of that name reads."""

    marks: tuple[str, ...]
    parser: str


@dataclass(frozen=True, slots=True)
class CreateDefault:
    """What a new model gets whose weights have one of these architectures: renderer, parser and stop words."""

    architectures: tuple[str, ...]
    renderer: str
    parser: str
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoConvention:
    """What Ollama adds to the Go templates of some models: it is not in the templates.

    It holds for models whose family is one of `model_families` and whose template has all of `marks`.
    `names`: the names of tools in prompts, in the order of the tools. `answer_start`: what is written between
    finished thinking and the answer. `highest`: the level that stands for `max`; `think_values`: what `think` may be.
    """

    model_families: tuple[str, ...]
    marks: tuple[str, ...]
    parser: str
    names: Callable[[Sequence[str]], Sequence[str]]
    answer_start: str
    think_values: tuple[Think, ...] = LEVELS
    highest: Think = "high"

    def renamed(self, tools: Sequence[Tool]) -> tuple[Tool, ...]:
        """The tools under their names in a prompt; the parser maps the names of calls back."""
        names = self.names([tool.function.name for tool in tools])
        return tuple(
            replace(tool, function=replace(tool.function, name=name)) if tool.function.name else tool
            for tool, name in zip(tools, names, strict=True)
        )


# What a message that asks a question says: from the state, all questions, and the one that is asked.
Ask = Callable[[str, Sequence[Question]], Callable[[Question], str]]


@dataclass(frozen=True, slots=True)
class DecisionForm:
    """How models of one renderer, made to answer typed questions, are asked (`/v1/systemone`).

    `uses_own_template`: prompts come from the template in the weights, and the renderer is only a name.
    """

    renderer: str
    ask: Ask
    max_options: int = 26
    needs_descriptions: bool = False
    takes_images: bool = False
    uses_own_template: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Renderers and parsers by the names that Ollama publishes, and what goes with them.

    The last two: models whose prompts show earlier answers without their thinking, by model family and by name.
    """

    renderers: tuple[Renderer, ...] = ()
    parsers: tuple[Parser, ...] = ()
    signs: tuple[Sign, ...] = ()
    create_default: CreateDefault | None = None
    go_convention: GoConvention | None = None
    decision: DecisionForm | None = None
    forgetful_families: tuple[str, ...] = ()
    forgetful_names: tuple[str, ...] = ()
