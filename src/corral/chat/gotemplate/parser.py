"""Tokens to trees, by recursive descent. Nothing is evaluated here; nesting is bounded.

An error names the line of the last token that was looked at, as Go's text/template/parse does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from corral.chat.gotemplate import nodes
from corral.chat.gotemplate.lexer import Kind, Lexer, Token
from corral.chat.gotemplate.literals import parse_char_constant, parse_number, quote, unquote
from corral.errors import TemplateError

# Blocks and parentheses inside each other; every level costs a few Python frames, here and while it runs.
MAX_NESTING = 100

_STARTS_OPERAND = frozenset(
    {
        Kind.BOOL,
        Kind.CHAR_CONSTANT,
        Kind.COMPLEX,
        Kind.DOT,
        Kind.FIELD,
        Kind.IDENTIFIER,
        Kind.NUMBER,
        Kind.NIL,
        Kind.RAW_STRING,
        Kind.STRING,
        Kind.VARIABLE,
        Kind.LEFT_PAREN,
    }
)
_CONSTANTS = (nodes.Bool, nodes.Dot, nodes.NilLiteral, nodes.NumberLiteral, nodes.StringLiteral)
_BRANCHES: dict[str, type[nodes.Branch]] = {"if": nodes.If, "range": nodes.Range, "with": nodes.With}


class _Parser:
    def __init__(self, text: str, is_function: Callable[[str], bool]) -> None:
        self._lexer = Lexer(text)
        self._is_function = is_function
        self._next = 0
        # Index of the last token that this (sub-)template has seen: errors are reported on its line.
        self._seen = 0
        self._variables = ["$"]
        self._range_depth = 0
        self._nesting = 0
        self._action_line = 0
        self.trees: dict[str, nodes.NodeList] = {}

    # Tokens

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _peek(self) -> Token:
        self._seen = max(self._seen, self._next)
        return self._lexer.token(self._next)

    def _take_visible(self) -> Token:
        """Take the next token that is not white space."""
        token = self._take()
        return self._take() if token.kind is Kind.SPACE else token

    def _peek_visible(self) -> Token:
        token = self._take_visible()
        self._next -= 1
        return token

    def _expect(self, kinds: tuple[Kind, ...], context: str) -> Token:
        token = self._take_visible()
        if token.kind not in kinds:
            self._fail_unexpected(token, context)
        return token

    # Errors

    def _fail(self, message: str) -> NoReturn:
        raise TemplateError(f"template: :{self._lexer.token(self._seen).line}: {message}")

    def _fail_unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind is not Kind.ERROR:
            self._fail(f"unexpected {token} in {context}")
        where = ""
        if self._action_line and self._action_line != token.line:
            in_action = "" if token.text.endswith(" action") else " in action"
            where = f"{in_action} started at :{self._action_line}"
        self._fail(f"{token}{where}")

    @contextmanager
    def _level(self) -> Iterator[None]:
        if self._nesting >= MAX_NESTING:
            self._fail(f"more than {MAX_NESTING} blocks or parentheses inside each other")
        self._nesting += 1
        yield
        self._nesting -= 1

    # Lists

    def parse(self) -> dict[str, nodes.NodeList]:
        """Parse everything; the main template has the name "", defined ones their own."""
        found: list[nodes.Node] = []
        while (token := self._peek()).kind is not Kind.EOF:
            if token.kind is Kind.LEFT_DELIM:
                start = self._next
                self._take()
                if self._take_visible().kind is Kind.DEFINE:
                    self._definition()
                    continue
                self._next = start
            node = self._text_or_action()
            if isinstance(node, Token):
                self._fail(f"unexpected {_end_text(node)}")
            found.append(node)
        self._add("", nodes.NodeList(tuple(found)))
        return self.trees

    def _add(self, name: str, tree: nodes.NodeList) -> None:
        old = self.trees.get(name)
        if old is None or old.is_empty:
            self.trees[name] = tree
        elif not tree.is_empty:
            self._fail(f"template: multiple definition of template {quote(name)}")

    def _subtemplate(self, name: str | None, context: str) -> str:
        """Parse the rest of a define or block: its own variables, its own loops. Returns the name."""
        outer = (self._variables, self._range_depth, self._action_line, self._seen)
        self._variables, self._range_depth, self._action_line = ["$"], 0, 0
        own_errors = name is None
        if name is None:
            name = self._string(self._expect((Kind.STRING, Kind.RAW_STRING), context))
            self._expect((Kind.RIGHT_DELIM,), context)
        with self._level():
            tree, end = self._list()
        if end.kind is not Kind.END:
            if not own_errors:
                self._seen = outer[3]
            self._fail(f"unexpected {_end_text(end)} in {context}")
        self._add(name, tree)
        self._variables, self._range_depth, self._action_line, self._seen = outer
        return name

    def _definition(self) -> None:
        self._subtemplate(None, "define clause")

    def _list(self) -> tuple[nodes.NodeList, Token]:
        """Parse up to `end` or `else`, which is returned too."""
        position = self._peek_visible().position
        found: list[nodes.Node] = []
        while self._peek_visible().kind is not Kind.EOF:
            node = self._text_or_action()
            if isinstance(node, Token):
                return nodes.NodeList(tuple(found), position=position), node
            found.append(node)
        self._fail("unexpected EOF")

    def _text_or_action(self) -> nodes.Node | Token:
        token = self._take_visible()
        if token.kind is Kind.TEXT:
            return nodes.Text(token.text, position=token.position)
        if token.kind is not Kind.LEFT_DELIM:
            self._fail_unexpected(token, "input")
        self._action_line = token.line
        node = self._action()
        self._action_line = 0
        return node

    def _action(self) -> nodes.Node | Token:
        start = self._next
        token = self._take_visible()
        kind = token.kind
        if kind is Kind.END:
            self._expect((Kind.RIGHT_DELIM,), "end")
            return token
        if kind is Kind.ELSE:
            # "else if" and "else with" leave their word pending.
            if self._peek_visible().kind not in (Kind.IF, Kind.WITH):
                self._expect((Kind.RIGHT_DELIM,), "else")
            return token
        if kind in (Kind.IF, Kind.RANGE, Kind.WITH):
            return self._branch(token.text)
        if kind in (Kind.BREAK, Kind.CONTINUE):
            return self._loop_control(token)
        if kind is Kind.TEMPLATE:
            return self._template_call()
        if kind is Kind.BLOCK:
            return self._block()
        self._next = start
        position = self._peek_visible().position
        return nodes.Action(self._pipeline("command", Kind.RIGHT_DELIM), position=position)

    # Actions

    def _loop_control(self, token: Token) -> nodes.Node:
        word = f"{{{{{token.text}}}}}"
        after = self._take_visible()
        if after.kind is not Kind.RIGHT_DELIM:
            self._fail_unexpected(after, word)
        if not self._range_depth:
            self._fail(f"{word} outside {{{{range}}}}")
        if token.kind is Kind.BREAK:
            return nodes.Break(position=token.position)
        return nodes.Continue(position=token.position)

    def _branch(self, word: str) -> nodes.Branch:
        mark = len(self._variables)
        pipe = self._pipeline(word, Kind.RIGHT_DELIM)
        self._range_depth += word == "range"
        with self._level():
            body, end = self._list()
        self._range_depth -= word == "range"
        otherwise: nodes.NodeList | None = None
        if end.kind is Kind.ELSE:
            chained = self._peek()
            if word != "range" and chained.text == word and chained.kind in (Kind.IF, Kind.WITH):
                self._take()
                with self._level():
                    otherwise = nodes.NodeList((self._branch(word),), position=end.position)
            else:
                with self._level():
                    otherwise, end = self._list()
                if end.kind is not Kind.END:
                    self._fail(f"expected end; found {_end_text(end)}")
        del self._variables[mark:]
        return _BRANCHES[word](pipe, body, otherwise, position=pipe.position)

    def _template_name(self, token: Token, context: str) -> str:
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            self._fail_unexpected(token, context)
        return self._string(token)

    def _template_call(self) -> nodes.Node:
        context = "template clause"
        token = self._take_visible()
        name = self._template_name(token, context)
        pipe = None
        if self._peek_visible().kind is Kind.RIGHT_DELIM:
            self._take_visible()
        else:
            pipe = self._pipeline(context, Kind.RIGHT_DELIM)
        return nodes.TemplateCall(name, pipe, position=token.position)

    def _block(self) -> nodes.Node:
        context = "block clause"
        token = self._take_visible()
        name = self._template_name(token, context)
        pipe = self._pipeline(context, Kind.RIGHT_DELIM)
        self._subtemplate(name, context)
        return nodes.TemplateCall(name, pipe, position=token.position)

    # Pipelines

    def _pipeline(self, context: str, end: Kind) -> nodes.Pipe:
        with self._level():
            position = self._peek_visible().position
            declared, is_assignment = self._declarations(context)
            commands: list[nodes.Command] = []
            while (token := self._take_visible()).kind is not end:
                if token.kind not in _STARTS_OPERAND:
                    self._fail_unexpected(token, context)
                self._next -= 1
                commands.append(self._command())
        if not commands:
            self._fail(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.args[0], _CONSTANTS):
                self._fail(f"non executable command in pipeline stage {stage}")
        return nodes.Pipe(tuple(commands), declared, is_assignment, position=position)

    def _declarations(self, context: str) -> tuple[tuple[nodes.Variable, ...], bool]:
        """Take `$x :=`, `$x =` or `$i, $x :=` if the pipeline starts with one."""
        declared: list[nodes.Variable] = []
        while True:
            start = self._next
            token = self._peek_visible()
            if token.kind is not Kind.VARIABLE:
                return tuple(declared), False
            self._take_visible()
            mark = self._peek_visible()
            is_list = mark.kind is Kind.CHAR and mark.text == ","
            if not is_list and mark.kind not in (Kind.ASSIGN, Kind.DECLARE):
                self._next = start
                return tuple(declared), False
            self._take_visible()
            declared.append(nodes.Variable((token.text,), position=token.position))
            self._variables.append(token.text)
            if not is_list:
                return tuple(declared), mark.kind is Kind.ASSIGN
            if context != "range" or len(declared) > 1:
                self._fail(f"too many declarations in {context}")
            if self._peek_visible().kind not in (Kind.VARIABLE, Kind.RIGHT_DELIM, Kind.RIGHT_PAREN):
                self._fail("range can only initialize variables")

    def _command(self) -> nodes.Command:
        args: list[nodes.Node] = []
        position = self._peek_visible().position
        while True:
            self._peek_visible()
            operand = self._operand()
            if operand is not None:
                args.append(operand)
            token = self._take()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT_DELIM, Kind.RIGHT_PAREN):
                self._next -= 1
            elif token.kind is not Kind.PIPE:
                self._fail_unexpected(token, "operand")
            break
        if not args:
            self._fail("empty command")
        return nodes.Command(tuple(args), position=position)

    def _operand(self) -> nodes.Node | None:
        node = self._term()
        if node is None or self._peek().kind is not Kind.FIELD:
            return node
        position = self._peek().position
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._take().text[1:])
        if isinstance(node, nodes.Field):
            return nodes.Field(node.names + tuple(names), position=position)
        if isinstance(node, nodes.Variable):
            return nodes.Variable(node.names + tuple(names), position=position)
        if isinstance(node, nodes.Pipe | nodes.FunctionName):
            return nodes.Chain(node, tuple(names), position=position)
        self._fail(f"unexpected . after term {quote(str(node))}")

    def _term(self) -> nodes.Node | None:
        start = self._next
        token = self._take_visible()
        kind, text, position = token.kind, token.text, token.position
        if kind is Kind.FIELD:
            return nodes.Field((text[1:],), position=position)
        if kind is Kind.IDENTIFIER:
            if not self._is_function(text):
                self._fail(f"function {quote(text)} not defined")
            return nodes.FunctionName(text, position=position)
        if kind is Kind.VARIABLE:
            if text not in self._variables:
                self._fail(f"undefined variable {quote(text)}")
            return nodes.Variable((text,), position=position)
        if kind in (Kind.STRING, Kind.RAW_STRING):
            return nodes.StringLiteral(self._string(token), text, position=position)
        if kind in (Kind.NUMBER, Kind.COMPLEX, Kind.CHAR_CONSTANT):
            return self._number(token)
        if kind is Kind.LEFT_PAREN:
            return self._pipeline("parenthesized pipeline", Kind.RIGHT_PAREN)
        if kind is Kind.DOT:
            return nodes.Dot(position=position)
        if kind is Kind.NIL:
            return nodes.NilLiteral(position=position)
        if kind is Kind.BOOL:
            return nodes.Bool(text == "true", position=position)
        self._next = start
        return None

    def _number(self, token: Token) -> nodes.NumberLiteral:
        try:
            if token.kind is Kind.CHAR_CONSTANT:
                value: int | float | complex | None = parse_char_constant(token.text)
            else:
                value = parse_number(token.text, is_complex=token.kind is Kind.COMPLEX).value
        except ValueError as error:
            self._fail(str(error))
        return nodes.NumberLiteral(value, token.text, position=token.position)

    def _string(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            self._fail(str(error))


def _end_text(token: Token) -> str:
    return "{{end}}" if token.kind is Kind.END else "{{else}}"


def parse(text: str, is_function: Callable[[str], bool]) -> dict[str, nodes.NodeList]:
    """Parse a template text into its trees by name; the main one is "".

    Raises:
        TemplateError: with Go's text, `template: :LINE: MESSAGE`.
    """
    try:
        return _Parser(text, is_function).parse()
    except RecursionError:
        raise TemplateError("template: :1: the template is nested too deeply") from None
