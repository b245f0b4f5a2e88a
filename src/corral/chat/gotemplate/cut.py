"""A template up to its response slot, for prompts of the legacy kind.

Ollama: template/template.go. Nodes are visited in the order of the text, bodies but not conditions; from the first
field with `Response` in its path on, everything is left out.
"""

from __future__ import annotations

from dataclasses import replace

from corral.chat.gotemplate import nodes


class _Cutter:
    def __init__(self) -> None:
        self.is_cut = False

    def keep_list(self, tree: nodes.NodeList) -> nodes.NodeList:
        kept = [node for child in tree.nodes if (node := self._keep(child)) is not None]
        return replace(tree, nodes=tuple(kept))

    def _keep(self, node: nodes.Node) -> nodes.Node | None:
        """The node without what follows the slot; None when all of it does."""
        if self.is_cut:
            return None
        if isinstance(node, nodes.Field):
            self.is_cut = "Response" in node.names
        elif isinstance(node, nodes.Branch):
            body = self.keep_list(node.body)
            otherwise = node.otherwise
            if otherwise is not None:
                otherwise = None if self.is_cut else self.keep_list(otherwise)
            return replace(node, body=body, otherwise=otherwise)
        elif isinstance(node, nodes.Action):
            pipe = self._keep_pipe(node.pipe)
            return None if pipe is None else replace(node, pipe=pipe)
        elif isinstance(node, nodes.Pipe):
            return self._keep_pipe(node)
        return node

    def _keep_pipe(self, pipe: nodes.Pipe) -> nodes.Pipe | None:
        commands: list[nodes.Command] = []
        for command in pipe.commands:
            args = tuple(arg for child in command.args if (arg := self._keep(child)) is not None)
            if not args:
                return None
            commands.append(replace(command, args=args))
        return replace(pipe, commands=tuple(commands))


def cut_after_response(tree: nodes.NodeList) -> nodes.NodeList:
    """Leave out everything after the first response slot."""
    return _Cutter().keep_list(tree)
