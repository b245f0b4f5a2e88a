"""Errors as the log has them: without what people wrote, and without passwords.

Who sent a request gets to see in full what is wrong with it. The log is read by others, and kept: what an error
quotes of a request is left out there.
"""

from __future__ import annotations

import re

from corral.errors import InvalidModelNameError, InvalidRequestError, TemplateError, TemplateRaisedError
from corral.urlsecrets import without_userinfo

_MAX_CHARS = 1000
# A quotation: in double quotes or backquotes, or in single ones that do not stand inside a word.
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*("|$)|`[^`]*(`|$)|(?<!\w)\'(?:\\.|[^\'\\])*(\'|$)', re.DOTALL)
# Errors whose text may quote a request. That of the last is what a template says, which may be anything.
_QUOTING = (InvalidRequestError, TemplateError)
_LEFT_OUT = "\N{HORIZONTAL ELLIPSIS}"


def logged(error: BaseException) -> str:
    """Class and text of an error, bounded."""
    text = str(error)[:_MAX_CHARS]
    if isinstance(error, TemplateRaisedError):
        text = _LEFT_OUT
    elif isinstance(error, _QUOTING) and not isinstance(error, InvalidModelNameError):
        text = _QUOTED.sub(lambda match: f"{match[0][0]}{_LEFT_OUT}{match[0][0]}", text)
    text = " ".join(map(without_userinfo, text.split(" ")))
    return f"{type(error).__name__}({text!r})"[:_MAX_CHARS]
