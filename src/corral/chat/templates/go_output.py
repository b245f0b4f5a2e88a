"""What a Go template tells about the model's output: the tags of thinking and of tool calls.

Only the main template is read, not the ones it defines. Source: ollama: thinking/template.go, tools/template.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from corral.chat.gotemplate import Template, nodes


def thinking_tags(template: Template) -> tuple[str, str] | None:
    """The texts around `.Thinking` in a loop over `.Messages`; None unless there are both."""
    tags = ("", "")
    for names, lists, loop in _fields(template.tree, (), None):
        if names[0] != "Thinking" or loop is None or not lists or not _is_over_messages(loop):
            continue
        around = lists[-1].nodes
        opening, closing = _trimmed_text(around[0]), _trimmed_text(around[-1])
        # A place without a text leaves what an earlier one gave.
        tags = (tags[0] if opening is None else opening, tags[1] if closing is None else closing)
    return tags if tags[0] and tags[1] else None


def _trimmed_text(node: nodes.Node) -> str | None:
    return node.text.strip() if isinstance(node, nodes.Text) else None


def _is_over_messages(loop: nodes.Range) -> bool:
    return any(names[0] == "Messages" for names, _, _ in _fields(loop.pipe, (), None))


_Place = tuple[tuple[str, ...], tuple[nodes.NodeList, ...], nodes.Range | None]


def _fields(
    node: nodes.Node, lists: tuple[nodes.NodeList, ...], loop: nodes.Range | None
) -> Iterator[_Place]:
    """Every field with the lists and the innermost loop around it."""
    if isinstance(node, nodes.Field):
        yield node.names, lists, loop
    elif isinstance(node, nodes.NodeList):
        for child in node.nodes:
            yield from _fields(child, (*lists, node), loop)
    elif isinstance(node, nodes.Branch):
        inner = node if isinstance(node, nodes.Range) else loop
        yield from _fields(node.pipe, lists, inner)
        yield from _fields(node.body, lists, inner)
        if node.otherwise is not None:
            yield from _fields(node.otherwise, lists, inner)
    elif isinstance(node, nodes.Action | nodes.TemplateCall):
        if node.pipe is not None:
            yield from _fields(node.pipe, lists, loop)
    elif isinstance(node, nodes.Pipe):
        for command in node.commands:
            for arg in command.args:
                yield from _fields(arg, lists, loop)


def tool_tag(template: Template) -> str:
    """The text that starts a tool call; `{` when the template shows none."""
    branch = _tool_branch(template.tree)
    text = _first_text(branch.body) if branch is not None else ""
    return (text or "").replace("\r\n", "\n").partition("{")[0].strip() or "{"


def _tool_branch(tree: nodes.NodeList) -> nodes.If | None:
    """The first `if` on the tool calls of a message."""
    for node in tree.nodes:
        if not isinstance(node, nodes.Branch):
            continue
        if isinstance(node, nodes.If) and _names_tool_calls(node.pipe):
            return node
        for inner in (node.body, node.otherwise):
            found = _tool_branch(inner) if inner is not None else None
            if found is not None:
                return found
    return None


def _names_tool_calls(pipe: nodes.Pipe) -> bool:
    return any(
        isinstance(arg, nodes.Field) and "ToolCalls" in arg.names
        for command in pipe.commands
        for arg in command.args
    )


def _first_text(tree: nodes.NodeList) -> str | None:
    """The first text that is not blank, inside the first block if one comes earlier; None after what prints."""
    for node in tree.nodes:
        if isinstance(node, nodes.Text) and node.text.strip():
            return node.text
        if isinstance(node, nodes.Branch):
            found = _first_text(node.body)
            if found is None and node.otherwise is not None:
                found = _first_text(node.otherwise)
            return found
        if isinstance(node, nodes.Action):
            return None
    return None
