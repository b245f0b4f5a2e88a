"""Checks of a client's GBNF before the engine sees it: what would stall or end the engine, and others' streams.

The engine keeps every way in which a text so far can be read (its stacks). A grammar in which their number grows with
the text can keep it busy forever, so the worst texts are looked for and tried here, within a budget.
"""

from __future__ import annotations

from corral.chat.grammar.automata import Alternatives, Chars, Repeat, Sequence_
from corral.chat.grammar.budget import Budget, WorkLimitError
from corral.chat.grammar.gbnf import GrammarNode, Named, read_grammar
from corral.chat.grammar.stacks import MAX_STACKS, worst_text
from corral.errors import SchemaError

MAX_GRAMMAR_CHARS = 512 << 10
_MAX_REPEAT = 2000
_MAX_SIZE = 60_000
_MAX_SIZE_OF_RULE = 20_000


def check_grammar(text: str, budget: Budget, *, is_final: bool = True) -> None:
    """Refuse what the engine could not read, or would never get out of.

    Raises:
        SchemaError: the text says why.
        WorkLimitError: more work than the budget has, unless `is_final`; then what is left over is not looked at.
    """
    if len(text) > MAX_GRAMMAR_CHARS:
        raise SchemaError(f"invalid grammar: longer than {MAX_GRAMMAR_CHARS} characters")
    budget.spend(4 * len(text))
    try:
        rules = read_grammar(text)
        _check_names(rules)
        sizes = _check_sizes(rules)
        budget.spend(sum(sizes.values()) + 4 * len(rules))
        _check_recursion(rules)
        _check_ends(rules)
    except ValueError as exc:
        raise SchemaError(f"invalid grammar: {exc}") from None
    except RecursionError:
        raise SchemaError("invalid grammar: nested too deeply") from None
    try:
        worst, count = worst_text(rules, budget)
    except WorkLimitError:
        if is_final:
            return
        raise
    if count > MAX_STACKS:
        raise SchemaError(
            f"invalid grammar: it is too ambiguous: after {worst[-60:]!r} there are more than {MAX_STACKS} ways on"
        )


def _names_in(node: GrammarNode) -> set[str]:
    found: set[str] = set()
    waiting: list[GrammarNode] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Named):
            found.add(one.name)
        else:
            waiting += _children(one)
    return found


def _children(node: GrammarNode) -> tuple[GrammarNode, ...]:
    if isinstance(node, Sequence_):
        return node.parts
    if isinstance(node, Alternatives):
        return node.options
    return (node.item,) if isinstance(node, Repeat) else ()


def _check_names(rules: dict[str, GrammarNode]) -> None:
    if "root" not in rules:
        raise ValueError("it has no rule named root (root ::= ...)")
    for name, body in rules.items():
        if unknown := sorted(_names_in(body) - rules.keys()):
            raise ValueError(f'the rule "{name}" refers to "{unknown[0]}", which is not there')


def _check_sizes(rules: dict[str, GrammarNode]) -> dict[str, int]:
    """How many symbols the engine makes of each rule, since it writes bounded repetitions out."""
    sizes = {name: _size(body) for name, body in rules.items()}
    for name, size in sizes.items():
        if size > _MAX_SIZE_OF_RULE:
            raise ValueError(f"the rule {name} repeats too much")
    if sum(sizes.values()) > _MAX_SIZE:
        raise ValueError("it is too large once its repetitions are written out")
    return sizes


def _size(node: GrammarNode) -> int:
    if isinstance(node, Repeat):
        count = max(node.least, node.most or 0, 1)
        if count > _MAX_REPEAT:
            raise ValueError(f"a repetition may have at most {_MAX_REPEAT} items")
        return count * (_size(node.item) + 1)
    return 1 + sum(map(_size, _children(node)))


def _check_recursion(rules: dict[str, GrammarNode]) -> None:
    """Refuse rules that begin with themselves, which the engine cannot read."""
    nullable: set[str] = set()
    is_changed = True
    while is_changed:
        found = {
            name for name, body in rules.items() if name not in nullable and _is_nullable(body, nullable)
        }
        is_changed = bool(found)
        nullable |= found
    firsts = {name: _firsts(body, nullable) for name, body in rules.items()}
    done: set[str] = set()
    for start in rules:
        trail: list[tuple[str, list[str]]] = [(start, sorted(firsts[start]))]
        on_trail = {start}
        while trail:
            name, left = trail[-1]
            if name in done or not left:
                done.add(name)
                on_trail.discard(name)
                trail.pop()
                continue
            following = left.pop()
            if following in on_trail:
                raise ValueError(f"the rule {following} begins with itself (left recursion)")
            if following not in done:
                on_trail.add(following)
                trail.append((following, sorted(firsts[following])))


def _is_nullable(node: GrammarNode, nullable: set[str]) -> bool:
    if isinstance(node, Chars):
        return False
    if isinstance(node, Named):
        return node.name in nullable
    if isinstance(node, Sequence_):
        return all(_is_nullable(part, nullable) for part in node.parts)
    if isinstance(node, Alternatives):
        return any(_is_nullable(option, nullable) for option in node.options)
    return node.least == 0 or _is_nullable(node.item, nullable)


def _firsts(node: GrammarNode, nullable: set[str]) -> set[str]:
    """The rules with which a node may begin."""
    if isinstance(node, Named):
        return {node.name}
    if isinstance(node, Sequence_):
        found: set[str] = set()
        for part in node.parts:
            found |= _firsts(part, nullable)
            if not _is_nullable(part, nullable):
                break
        return found
    if isinstance(node, Repeat):
        if node.most is None and _is_nullable(node.item, nullable):
            raise ValueError("what is repeated without end may be empty (left recursion)")
        return _firsts(node.item, nullable)
    found = set()
    for child in _children(node):
        found |= _firsts(child, nullable)
    return found


def _check_ends(rules: dict[str, GrammarNode]) -> None:
    """Refuse a grammar without a text of an end, or one whose texts need a character that no model can write."""
    ending: set[str] = set()
    is_changed = True
    while is_changed:
        found = {name for name, body in rules.items() if name not in ending and _can_end(body, ending)}
        is_changed = bool(found)
        ending |= found
    if "root" not in ending:
        raise ValueError("no text of it ever ends, or all need a character (NUL) that no model can write")


def _can_end(node: GrammarNode, ending: set[str]) -> bool:
    if isinstance(node, Chars):
        return any(high > 0 for _, high in node.ranges)
    if isinstance(node, Named):
        return node.name in ending
    if isinstance(node, Sequence_):
        return all(_can_end(part, ending) for part in node.parts)
    if isinstance(node, Alternatives):
        return any(_can_end(option, ending) for option in node.options)
    return node.least == 0 or _can_end(node.item, ending)
