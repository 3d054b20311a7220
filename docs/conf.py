"""Builds the documentation: ``make docs``."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
BLOB = "https://github.com/flask-resumable/flask-resumable/blob/main/"

project = "Flask-Resumable"
author = "The Flask-Resumable maintainers"
copyright = f"2026, {author}"
release = version_of("Flask-Resumable")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "pallets_sphinx_themes", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_click"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
suppress_warnings = ["myst.strikethrough"]

html_theme = "flask"
html_theme_options = {"index_sidebar_logo": False}
html_title = "Flask-Resumable"
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["resumable.css"]
html_favicon = "_static/icon.svg"
html_extra_path: list[str] = []
pygments_style = "sphinx"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"

linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1|10\.)", r"https?://([\w*-]+\.)*example(\.\w+)?\b"]  # examples

intersphinx_mapping: dict[str, tuple[str, str | None]] = {}  # no pages of others are loaded to build these

# A link to a file of the repository that is not a page, as people follow it on GitHub, leads there from the site, too.
_OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")


def _link_outside(_app: Sphinx, _page: str, content: list[str]) -> None:
    content[0] = _OUTSIDE.sub(lambda found: f"]({BLOB}{found[1]})", content[0])


def _shorten(*args: Any) -> tuple[str, str | None] | None:
    """Leave out signatures that say nothing, such as those of protocols."""
    signature, returns = args[5:]
    return ("", returns) if signature and signature.startswith(("(*args, **kw", "(*args, **values")) else None


def setup(app: Sphinx) -> None:
    """Prepare the links and the signatures."""
    app.connect("source-read", _link_outside)
    app.connect("autodoc-process-signature", _shorten)
