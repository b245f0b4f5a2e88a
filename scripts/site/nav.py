"""The order of the pages: that in which people need them."""

from __future__ import annotations

# Captions, and the pages under them without `.md`. Those that do not exist are left out.
NAVIGATION = (
    ("Begin", ("install", "first-model", "from-ollama", "web", "cli")),
    (
        "Models",
        (
            "modelfile",
            "registry",
            "model-folder",
            "engines",
            "convert",
            "quantize",
            "corral-tiny",
        ),
    ),
    (
        "Write programs",
        (
            "reference/README",
            "openai",
            "responses",
            "anthropic",
            "systemone",
            "http",
            "interoperability",
            "examples",
        ),
    ),
    (
        "Run a server",
        (
            "configuration",
            "security",
            "packages",
            "deployment",
            "containers",
            "kubernetes",
            "operations",
            "troubleshooting",
        ),
    ),
    ("Many machines", ("cluster", "cluster-ray")),
    (
        "How it works",
        (
            "differences",
            "architecture",
            "scheduler",
            "benchmarks",
            "testing",
            "decisions/README",
        ),
    ),
    ("The project", ("contributing", "release", "releasing", "reporting", "changelog")),
)
REFERENCE = tuple(f"reference/{name}.md" for name in ("native", "openai", "anthropic", "more"))
# Pages that other pages list.
LISTED_ELSEWHERE = ("index", "decisions/", "reference/", "examples/")
# Files outside of docs/ that are pages too.
MORE_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
    "examples/README.md": "examples.md",
    "web/README.md": "web-source.md",
}
