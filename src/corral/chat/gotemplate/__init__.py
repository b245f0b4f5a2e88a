"""Go's text/template with Ollama's functions, for prompts.

Text -> lexer -> parser -> nodes -> closures (expressions, statements) -> text. What a template can do is bounded.
"""

from corral.chat.gotemplate.evaluate import NotQuickError
from corral.chat.gotemplate.template import Template
from corral.chat.gotemplate.values import NO_VALUE, GoList, GoMap, GoSequence, GoStruct

__all__ = ["NO_VALUE", "GoList", "GoMap", "GoSequence", "GoStruct", "NotQuickError", "Template"]
