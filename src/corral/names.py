"""Model names: parsed once, so an invalid name cannot exist and cannot become a path.

Grammar: `[host/][namespace/]model[:tag]`. Ollama: types/model/name.go, internal/modelref.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from corral.errors import InvalidModelNameError, InvalidRequestError
from corral.golang.quote import quoted

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
# Stands for an empty part next to a separator; it is not valid in any part.
_MISSING = "!MISSING!"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A valid, fully qualified name. Make one with `parse`; parts keep the case they were typed in.

    `scheme` is the text before `://` (`https` by default); it is ignored in comparisons.
    """

    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = field(default="https", compare=False)

    def __post_init__(self) -> None:
        if not (
            _HOST.fullmatch(self.host)
            and _NAMESPACE.fullmatch(self.namespace)
            and _PART.fullmatch(self.model)
            and _PART.fullmatch(self.tag)
        ):
            raise InvalidModelNameError(f"{self.host}/{self.namespace}/{self.model}:{self.tag}")

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises InvalidModelNameError."""
        return _parse(text)

    def path_parts(self) -> tuple[str, str, str, str]:
        """The path of the manifest below `manifests/`."""
        return (self.host, self.namespace, self.model, self.tag)

    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def short(self) -> str:
        """Without the default host, and then without the default namespace, but always with the tag."""
        if self.host.lower() != DEFAULT_HOST:
            return self.full()
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    def repository(self) -> str:
        """The path of the repository in its registry."""
        return f"{self.namespace}/{self.model}"

    def __str__(self) -> str:
        return self.short()


def completed_text(text: str) -> str:
    """Any text as a complete name, valid or not, as errors show it: with `!MISSING!` for a missing part.

    Ollama: types/model/name.go.
    """
    host, namespace, model, tag, _ = _parts(text)
    return f"{host}/{namespace}/{model}:{tag}"


def _parts(text: str) -> tuple[str, str, str, str, str]:
    """Host, namespace, model, tag and scheme, not validated."""
    untagged, tag = text, DEFAULT_TAG
    if text.rfind(":") > text.rfind("/"):
        untagged, _, tag = text.rpartition(":")
        untagged, tag = untagged or _MISSING, tag or _MISSING
    namespace, host, scheme = DEFAULT_NAMESPACE, DEFAULT_HOST, "https"
    rest, model = _cut(untagged)
    if rest is not None:
        rest, namespace = _cut(rest)
        if rest is not None:
            host = rest
            if "://" in host:
                scheme, _, host = host.partition("://")
    return host, namespace, model, tag, scheme


@lru_cache(maxsize=4096)
def _parse(text: str) -> ModelName:
    host, namespace, model, tag, scheme = _parts(text)
    try:
        return ModelName(host, namespace, model, tag, scheme)
    except InvalidModelNameError:
        raise InvalidModelNameError(text) from None


def _cut(text: str) -> tuple[str | None, str]:
    """The text before and after the last slash; before it None if there is no slash."""
    head, slash, tail = text.rpartition("/")
    if not slash:
        return None, text
    return head or _MISSING, tail or _MISSING


_FILE_STARTS = (".", "/", "~")
_FILE_SUFFIXES = (".gguf", ".ggml", ".safetensors", ".bin", ".pt", ".pth", ".onnx", ".llamafile")


def looks_like_file(text: str) -> bool:
    """Whether a text looks like a file path rather than a model name.

    A name with a host or a tag may end like a file: Hugging Face accepts file names as tags.
    """
    if text.startswith(_FILE_STARTS) or "\\" in text:
        return True
    is_name = ":" in text or ("." in text.partition("/")[0] and text.count("/") > 1)
    return text.lower().endswith(_FILE_SUFFIXES) and not is_name


Source = Literal["", "cloud", "local"]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A name as typed, without the suffix that says where the model has to run."""

    base: str
    source: Source
    raw: str


def parse_ref(text: str) -> ModelRef:
    """Split a `:cloud` or `:local` suffix off.

    Raises:
        InvalidRequestError: a blank name, or two suffixes that contradict each other.
    """
    stripped = text.strip()
    if not stripped:
        raise InvalidRequestError("model is required")
    base, source = _split_source(stripped)
    if source and _split_source(base)[1]:
        raise InvalidRequestError(f"use either :local or :cloud, not both: {quoted(text)}")
    return ModelRef(base, source, text)


def pull_text(ref: ModelRef) -> str:
    """The name to request from a registry: cloud models are tags there. Ollama: internal/modelref."""
    if ref.source != "cloud":
        return ref.base
    has_tag = ref.base.rfind(":") > ref.base.rfind("/")
    return f"{ref.base}-cloud" if has_tag else f"{ref.base}:cloud"


def _split_source(text: str) -> tuple[str, Source]:
    base, colon, suffix = text.rpartition(":")
    if not colon:
        return text, ""
    lowered = suffix.lower()
    if lowered == "cloud":
        return base, "cloud"
    if lowered == "local":
        return base, "local"
    if lowered.endswith("-cloud") and "/" not in suffix:
        return f"{base}:{suffix[: -len('-cloud')]}", "cloud"
    return text, ""
