"""Models whose replies are content as they stand, whatever is in them. Ollama: model/parsers/parsers.go."""

from __future__ import annotations

from corral.chat.families.family import Family, Parser
from corral.chat.parsing.passthrough import create_passthrough

FAMILY = Family(parsers=(Parser("passthrough", create_passthrough),))
