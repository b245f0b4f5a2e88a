"""Reads YAML from anywhere: plain values alone, within bounds, as Go's reader understands them.

PyYAML's types of YAML 1.1 (`on` as a boolean, `1:20` as a number, dates) would change names of models.
"""

from __future__ import annotations

import re
from typing import Any

from corral.configimport.imported import ImportFileError

MAX_BYTES = 512 << 10
# A real file has some hundreds. Those that anchors repeat count each time.
_MAX_VALUES = 20_000
_MAX_DEPTH = 50
_MAX_MERGED = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = (
    ("null", re.compile(r"~|null|Null|NULL|"), ("~", "n", "N", "")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), tuple("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]{1,18}"), tuple("-+0123456789")),
    (
        "float",
        re.compile(r"[-+]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?"),
        tuple("-+.0123456789"),
    ),
    ("merge", re.compile(r"<<"), ("<",)),
)


def read_yaml(text: str) -> Any:
    """The one document in a text: dicts, lists, texts, numbers, booleans and None. Keys are texts.

    Raises:
        ImportFileError
    """
    import yaml  # slow to load, and needed by no other command

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML declares it
        node_count = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.node_count += 1
            if self.node_count > _MAX_VALUES:
                raise ImportFileError(f"the file has more than {_MAX_VALUES} values")
            return super().compose_node(parent, index)

        def flatten_mapping(self, node: Any) -> None:
            merged = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
            if any(
                len(value.value) > _MAX_MERGED for value in merged if isinstance(value, yaml.SequenceNode)
            ):
                raise ImportFileError("too many mappings are merged into one")
            super().flatten_mapping(node)
            if len(node.value) > _MAX_VALUES:
                raise ImportFileError("the merged mappings are too large")

        def construct_yaml_int(self, node: Any) -> int:
            return int(self.construct_scalar(node))

    for tag, pattern, first in _PLAIN:
        anchored = re.compile(rf"^(?:{pattern.pattern})$")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", anchored, list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise ImportFileError(f"the file is larger than {MAX_BYTES >> 10} KiB")
    try:
        value = yaml.load(text, Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ImportFileError(f"{where}{exc.problem or exc.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError) as exc:
        text = "nested too deeply" if isinstance(exc, RecursionError) else str(exc).partition("\n")[0]
        raise ImportFileError(text) from None
    return _Bounded().copy(value, 0)


class _Bounded:
    """Copies what was read, so that what an anchor stands for is counted wherever it is used."""

    def __init__(self) -> None:
        self._count = 0

    def copy(self, value: Any, depth: int) -> Any:
        """Raises ImportFileError: too large, or nested too deeply, as something that contains itself is."""
        self._count += 1
        if self._count > _MAX_VALUES:
            raise ImportFileError(
                f"the file has more than {_MAX_VALUES} values, with those that anchors repeat"
            )
        if depth > _MAX_DEPTH:
            raise ImportFileError("nested too deeply")
        if isinstance(value, dict):
            return {_key(key): self.copy(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list):
            return [self.copy(part, depth + 1) for part in value]
        if isinstance(value, str):
            return _checked(value)
        if value is None or isinstance(value, int | float):
            return value
        raise ImportFileError(f"a value of the kind {type(value).__name__} is not expected")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None or isinstance(key, str | int | float):
        return "" if key is None else _checked(str(key))
    raise ImportFileError("a key is neither a text nor a number")


def _checked(text: str) -> str:
    """Raises ImportFileError: it cannot be written as UTF-8."""
    if _SURROGATE.search(text):
        raise ImportFileError("a text in it is not valid Unicode")
    return text
