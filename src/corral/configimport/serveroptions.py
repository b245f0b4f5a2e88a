"""The options of llama-server for one model, on their way into its section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corral.configimport.imported import ImportedModel
from corral.modelfile import Directive


@dataclass(slots=True)
class ServerOptions:
    """The options of one model on their way into its section.

    `path` makes a path of this machine of one in the file. Contexts, slots and types of the cache are known when all
    options are.
    """

    model: ImportedModel
    path: Callable[[str], str]
    num_ctx: int = 0
    num_parallel: int = 0
    is_unified: bool = False
    model_path: str = ""
    repository: str = ""
    repository_file: str = ""
    projectors: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    cache_types: tuple[str, ...] = ()
    draft: str = ""

    def finish(self) -> None:
        """Put what depends on several options into the section."""
        model, slots = self.model, self.num_parallel
        if self.num_ctx and slots > 1 and not self.is_unified:
            model.values["num_ctx"] = self.num_ctx // slots
            model.note(f"num_ctx is for each request: {self.num_ctx} for {slots} slots together")
        elif self.num_ctx:
            model.values["num_ctx"] = self.num_ctx
        if slots:
            model.values["num_parallel"] = slots
        if self.cache_types:
            model.engine["kv_cache_type"] = self.cache_types[0]
            if len(set(self.cache_types)) > 1:
                model.note(f"keys and values of the cache have one type here: {self.cache_types[0]}")
        if self.draft:
            model.values["draft"] = self.draft
        self._add_directives()

    def _add_directives(self) -> None:
        source = self.model_path or hub_name(self.repository, self.repository_file)
        if source:
            self.model.directives.append(Directive("from", source))
            self.model.directives += [Directive("from", path) for path in self.projectors]
            self.model.directives += [Directive("adapter", path) for path in self.adapters[:1]]
        if len(self.adapters) > 1:
            self.model.note("a model has one adapter here: merge them, or create a model for each")


def hub_name(repository: str, file: str) -> str:
    """The name here of a repository on Hugging Face, of one of its files, or of one of its quantisations."""
    if not repository:
        return ""
    bare, _, quantisation = repository.partition(":")
    tag = file or quantisation
    return f"hf.co/{bare}:{tag}" if tag else f"hf.co/{bare}"


def relative_to(folder: Path) -> Callable[[str], str]:
    """Paths relative to a folder; `~` is the home folder."""

    def absolute(text: str) -> str:
        try:
            return str(folder / Path(text).expanduser())
        except (RuntimeError, ValueError):
            return text

    return absolute
