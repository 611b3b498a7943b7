"""What the site needs beside mkdocs: pages from files outside docs/, their links, formulas as MathML."""

import html
import posixpath
import re
from typing import Any

from docutils.utils.math.latex2mathml import tex2mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# Files that stand elsewhere in the repository, each said once, and their pages.
PAGES = {
    "README.md": "index.md",
    "config/README.md": "config.md",
    "results/reference/README.md": "reference.md",
    "envs/README.md": "environments.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}

_LINK = re.compile(r"(!?)\[((?:[^\[\]`]|`[^`]*`)*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    root = posixpath.dirname(config.config_file_path)
    for source, page in PAGES.items():
        with open(posixpath.join(root, source), encoding="utf-8") as text:
            content = _linked(text.read(), posixpath.dirname(source))
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files of the repository into links to their pages, or into their names."""
    if page.file.generated_by:
        return markdown
    return _linked(markdown, posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri))))


def on_page_content(content: str, **_: Any) -> str:
    """Turn the formulas that arithmatex marked into MathML, which browsers set without a script."""
    inline = r'<span class="arithmatex">\\\((.*?)\\\)</span>'
    display = r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>'
    content = re.sub(inline, lambda found: _mathml(found.group(1), False), content, flags=re.DOTALL)
    content = re.sub(display, lambda found: _mathml(found.group(1), True), content, flags=re.DOTALL)
    return content.replace("&amp;#124;", "|")  # a pipe in code in a table


def _mathml(formula: str, display: bool) -> str:
    tex = " ".join(html.unescape(formula).split())
    tex = re.sub(r"(\\hat \w)_", r"{\1}_", tex)  # else the index is put below the hat
    math = tex2mathml(tex, as_block=display)
    return f'<div class="formula">{math}</div>' if display else math


def _linked(markdown: str, folder: str) -> str:
    """A page's text, whose links are relative to ``folder``, with links that are right in the site."""

    def link(found: re.Match[str]) -> str:
        image, text, target, anchor = found.groups(default="")
        if not target or ":" in target:
            return found.group()
        place = posixpath.normpath(posixpath.join(folder, target))
        page = PAGES.get(place) or (place.removeprefix("docs/") if place.startswith("docs/") else None)
        if page is None:  # a file without a page: where it is, for readers who have the repository
            return f"`{place}`" if place.endswith(text.strip("`")) else f"{text} (`{place}`)"
        here = posixpath.relpath(folder, "docs") if folder.startswith("docs") else ""
        return f"{image}[{text}]({posixpath.relpath(page, here or '.')}{anchor})"

    blocks = re.split(r"(^```.*?^```\n)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(block if block.startswith("```") else _LINK.sub(link, block) for block in blocks)
