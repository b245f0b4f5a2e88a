"""The models that have rules for replicas, from the configuration and what the nodes have. Pure."""

from __future__ import annotations

from collections.abc import Callable

from corral.cluster.agreement import agreed_digest
from corral.cluster.replicas import Managed, Placement, Replicas
from corral.cluster.view import View
from corral.configfile.rules import ModelRules
from corral.configfile.sections import ModelSection
from corral.errors import InvalidModelNameError
from corral.names import ModelName

# Weights need about this much memory when they are loaded with a context.
_LOADED_SHARE = 1.15


def managed_models(view: View, rules: ModelRules, size_of: Callable[[ModelName], int]) -> list[Managed]:
    """Models with rules that a node has, in the order of their names.

    `size_of` gives the bytes of a model's weights, 0 if they are not known here. Two names of one model are one: the
    first name's rules hold.
    """
    if not any(section.replicas for section in rules.sections.models):
        return []
    names = (
        view.models if view.models is not None else {n for node in view.nodes.values() for n in node.models}
    )
    found: dict[str, Managed] = {}
    for text in sorted(names):
        try:
            name = ModelName.parse(text)
        except InvalidModelNameError:
            continue
        section = rules.section(name)
        digest = agreed_digest(view, text) if section.replicas is not None else ""
        if digest and digest not in found:
            found[digest] = Managed(text, digest, replicas_of(section), _needs(view, digest, size_of(name)))
    return list(found.values())


def replicas_of(section: ModelSection) -> Replicas:
    """The rules of a section as the plan takes them."""
    rule = section.replicas
    placement = Placement(section.placement or Placement.SPREAD)
    return Replicas(rule.min, rule.max, rule.prewarm, placement) if rule else Replicas(placement=placement)


def _needs(view: View, digest: str, size_bytes: int) -> int:
    """Memory for the model: as nodes measured it, else a guess from its size."""
    measured = (node.loaded[digest].memory_bytes for node in view.nodes.values() if digest in node.loaded)
    return max(measured, default=0) or int(size_bytes * _LOADED_SHARE)
