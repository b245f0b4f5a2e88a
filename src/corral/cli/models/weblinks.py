"""Turns links to models on the web into names that can be pulled."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from corral.cli.frame.flags import PROGRAM
from corral.cli.http.client import APIError

_HOSTS = ("huggingface.co", "hf.co", "www.huggingface.co")
_QUANT = re.compile(
    r"[-._]((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32|FP16))(?:-\d{5}-of-\d{5})?\.gguf", re.IGNORECASE
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


def name_of_link(text: str) -> str:
    """The model name for a link to Hugging Face; any other text unchanged.

    Raises:
        APIError: a link to a file elsewhere; the text says what to do.
    """
    if "://" not in text:
        return text
    url = urlsplit(text)
    scheme, host = url.scheme.lower(), (url.hostname or "").lower()
    parts = [unquote(part) for part in url.path.split("/") if part]
    if scheme in ("hf", "huggingface"):
        parts.insert(0, url.netloc)
    elif host not in _HOSTS or scheme not in ("http", "https"):
        if scheme in ("http", "https", "ftp") and url.path.lower().endswith(".gguf"):
            return _refuse(text, parts[-1])
        return text
    return _hugging_face_name(text, parts)


def _hugging_face_name(text: str, parts: list[str]) -> str:
    repository, rest = "/".join(("hf.co", *parts[:2])), parts[2:]
    revision = "main"
    if rest and rest[0] in ("resolve", "blob", "raw", "tree"):
        revision, rest = "".join(rest[1:2]) or "main", rest[2:]
    if len(parts) < 2 or revision != "main":
        return text if len(parts) < 2 else _refuse(text, parts[-1])
    if not rest:
        return repository
    file = rest[-1]
    quant = _QUANT.search(file)
    if len(rest) == 1 and _TAG.fullmatch(file) and file.lower().endswith(".gguf") and not _is_part(file):
        return f"{repository}:{file}"
    return f"{repository}:{quant[1]}" if quant else _refuse(text, file)


def _refuse(link: str, file: str) -> str:
    raise APIError(
        f"{link} is a link to a file, not the name of a model: download it with `curl -LO {link}`, "
        f"then `{PROGRAM} run ./{file}`"
    )


def _is_part(name: str) -> bool:
    return re.search(r"-\d{5}-of-\d{5}\.gguf$", name, re.IGNORECASE) is not None
