"""Sphinx's configuration for the site. `python -m scripts.site` uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygments.lexers.configs import NginxConfLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Corral"
author = "The Corral maintainers"
copyright = "The Corral maintainers, MIT licence"
extensions = ["myst_parser", "sphinx_design", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]
highlight_language = "text"
# A page that no list names is still found by the search.
html_theme = "furo"
html_title = "Corral"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_permalinks_icon = "#"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r"\$ |box\d\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif'
_CODE = 'ui-monospace, "SF Mono", "Cascadia Code", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
_FONTS = {"font-stack": _FONT, "font-stack--monospace": _CODE}


def _colours(
    ink: str, soft: str, page: str, sunken: str, line: str, accent: str, code: str
) -> dict[str, str]:
    return {
        "color-foreground-primary": ink,
        "color-foreground-secondary": soft,
        "color-foreground-muted": soft,
        "color-foreground-border": line,
        "color-background-primary": page,
        "color-background-secondary": sunken,
        "color-background-hover": code,
        "color-background-border": line,
        "color-brand-primary": accent,
        "color-brand-content": accent,
        "color-brand-visited": accent,
        "color-code-background": code,
        "color-inline-code-background": code,
        "color-sidebar-link-text": soft,
        "color-sidebar-link-text--top-level": ink,
        "color-sidebar-brand-text": ink,
        "color-api-background": code,
        "sd-color-primary": accent,
        "sd-color-tabs-label-active": accent,
        "sd-color-tabs-underline-active": accent,
    }


html_theme_options: dict[str, Any] = {
    "light_logo": "icon.svg",
    "dark_logo": "icon.svg",
    "navigation_with_keys": True,
    "light_css_variables": _FONTS
    | _colours("#221e1a", "#5c554c", "#fffefb", "#f6f4f0", "#e1dcd2", "#a8491a", "#f3f0ea"),
    "dark_css_variables": _colours(
        "#eee9e2", "#b3aba0", "#1d1a18", "#161412", "#35302b", "#f0a06a", "#141210"
    ),
}


def setup(app: Sphinx) -> None:
    """Pygments does not know Caddy's language; nginx's comes close."""
    app.add_lexer("caddy", NginxConfLexer)
