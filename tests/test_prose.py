"""How the pages are written, and where their links lead: what Sphinx, codespell and proselint do not see."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRONT = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*FRONT, *sorted((ROOT / "docs").glob("*.md"))]
PUBLIC = [
    *(ROOT / "flask_resumable" / name for name in ("extension.py", "errors.py", "signals.py", "testing/client.py")),
    *(path for path in (ROOT / "flask_resumable" / "models").glob("*.py")),
    *(path for path in (ROOT / "flask_resumable" / "settings").glob("*.py")),
]

PLACES = r"(?:same|app|login|load|address|link|relay|server|node|firewall|gateway|cdn)\b|\w*prox|\w*nginx"

# What plain English says differently. Each pattern is searched in sentences, not in code.
AVOIDED = {
    r"\bin order to\b": "to",
    r"\bso as to\b": "to",
    r"\b(?:is|are) no (?!longer\b|more\b)(?<!there is no )(?<!there are no )\w+": "is not a",
    r"\bto be had\b": "available",
    r"\bfor ever\b": "forever, or: never expires",
    r"\bbelongs? into\b": "belongs in",
    rf"\bbehind (?:the|a|an|its|each|every) (?:same )?(?!{PLACES})\w+": "after",
    r"(?:^|[.!:;,] )who (?:has|is|have|wants|sends|asks|uses)\b(?![^.!]*\?)": "if you, or: users who",
    r"\b(?:he|his|him)\b": "they, or: the user",
    r"\b(?:utili[sz]e|leverage|facilitate|seamless(?:ly)?|blazing(?:ly)?)\b": "use, help; or nothing",
    r"\b(?:simply|obviously|basically|of course|needless to say|trivially|effortless(?:ly)?)\b": "nothing",
    r"\b(?:a variety of|various|quite|fairly|somewhat|arguably)\b": "how many, or how much",
    r"\bdue to the fact\b": "because",
    r"\bwith regards? to\b": "about",
    r"\b(?:as a matter of fact|at the end of the day|it should be noted|please note)\b": "nothing",
    r"\ba lot of\b": "many, or much",
}


def _sentences(page: str) -> str:
    """A page without code, comments and targets of links; the lines keep their numbers."""
    for pattern in (r"^ *(`{3,}|:{3,})(?!\{).*?^ *\1 *$", r"<!--.*?-->", r"``.+?``|`[^`]+`", r"\]\([^)\s]*\)"):
        page = re.sub(pattern, lambda found: "•" + "\n" * found[0].count("\n"), page, flags=re.DOTALL | re.MULTILINE)
    return page


def _docstrings(path: Path) -> str:
    """Of all that a module defines, without examples."""
    found = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    return "\n".join(re.sub(r"::\n\n(?: +.*\n|\n)+", "\n", text + "\n") for text in found)


def _faults(text: str) -> list[str]:
    """What is written in a way that it should not be."""
    faults = []
    for pattern, instead in AVOIDED.items():
        for found in re.finditer(pattern, text.replace("\n", " "), re.IGNORECASE):
            faults.append(f"{text[: found.start()].count(chr(10)) + 1}: {found[0]!r}; better: {instead}")
    for found in re.finditer(r"\b([A-Za-z]+) *[ \n] *\1\b", text):
        faults.append(f"{text[: found.start()].count(chr(10)) + 1}: {found[0]!r} is there twice")
    return faults


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_are_written_plainly(path: Path) -> None:
    """They avoid phrases for which there is a plainer one, and no word is there twice."""
    assert _faults(_sentences(path.read_text())) == []


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_docstrings_are_written_plainly(path: Path) -> None:
    """Those that the API reference shows."""
    assert _faults(_sentences(_docstrings(path))) == []


@pytest.mark.parametrize(
    "text",
    [
        "Do this in order to upload.",
        "It is no model.",
        "The link is to be had\nfrom the app.",
        "Call it behind the commit.",
        "Who has one storage, lists it.",
        "The client sends his file.",
        "It is is there.",
    ],
)
def test_what_is_avoided_is_found(text: str) -> None:
    """A pattern that finds nothing would say that all is well."""
    assert _faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no limit.",
        "It is no longer there.",
        "It works behind a proxy, and behind the load balancer.",
        "A user who has logged in.",
        "Set `in order to` to `his`.",
        "```python\n# he is no model\n```\n",
        "Run `a`:\n\n```console\n$ a\n```\n\nRun `b b`, then\n\n```console\n$ exec nginx nginx\n```\n",
    ],
)
def test_what_is_plain_is_left_alone(text: str) -> None:
    """The same words are right elsewhere, and code is not prose."""
    assert _faults(_sentences(text)) == []


def _anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may say, as GitHub and the site name them."""
    names: dict[str, int] = {}
    anchors = set()
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for title in re.findall(r"^#+ (.+?) *$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = names.get(slug, 0)
        names[slug] = count + 1
        anchors.add(f"{slug}-{count}" if count else slug)
    return anchors | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Of the README and its neighbors, too, which are not part of the site that Sphinx checks."""
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", _without_code(page)):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(path), f"{page.name} links to {target}#{anchor}"


def _without_code(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```|`[^`\n]+`(?!\])", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("link", ["docs/api.md#version", "#nothing", "docs/nothing.md", "docs/api.md#Versions"])
def test_a_link_that_leads_nowhere_is_found(link: str, tmp_path: Path) -> None:
    """So the test above is not one that always passes."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "api.md").write_text("# API\n\n## Versions\n")
    page = tmp_path / "README.md"
    page.write_text(f"# Title\n\n[there](docs/api.md#versions), [here](#title) and [nowhere]({link})\n")
    with pytest.raises(AssertionError):
        test_links_lead_to_files_and_headings(page)


def test_the_comparison_has_the_figures_of_the_benchmark() -> None:
    """Each number with a fraction, and each of four digits, is in a table of the page about performance."""
    section = (ROOT / "docs" / "comparison.md").read_text().split("## What others do better")[1].split("\n## ")[0]
    cells = set(re.findall(r"(?<=\| )[\d,.]+(?= \|)", (ROOT / "docs" / "performance.md").read_text()))
    figures = set(re.findall(r"\b\d+\.\d+\b|\b\d,\d{3}\b", section))
    assert len(figures) > 10 and figures <= cells, figures - cells
