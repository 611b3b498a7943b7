"""Docstrings as the site shows them: their roles and formulas of reStructuredText in Markdown."""

import re
from typing import Any

import griffe


class Roles(griffe.Extension):
    """Turn ``:math:``, ``.. math::`` and references to code of every docstring into Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """A docstring in Markdown.

    Args:
        docstring: with the roles ``:math:``, ``:class:`` and their like, and ``.. math::`` blocks.
    """
    text = re.sub(r"^([ ]*)\.\. math::(.*(?:\n\1[ ]+\S.*)*)", _display, docstring, flags=re.MULTILINE)
    text = re.sub(r":math:`([^`]*)`", lambda found: rf"\({' '.join(found.group(1).split())}\)", text)
    return re.sub(r":(?:class|func|meth|mod|data|attr):`~?([^`]*)`", r"`\1`", text)


def _display(found: re.Match[str]) -> str:
    indent, formula = found.groups()
    return f"\n{indent}\\[ {' '.join(formula.split())} \\]\n"
