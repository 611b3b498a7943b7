"""Docstrings for readers of pages: their roles and formulas of reStructuredText in Markdown."""

import inspect
import re
from collections.abc import Iterator


def markdown(docstring: str) -> str:
    """A docstring in Markdown, its roles (``:math:``, ``:class:``, ...) and ``.. math::`` blocks too."""
    text = re.sub(r"^([ ]*)\.\. math::(.*(?:\n\1[ ]+\S.*)*)", _formula, docstring, flags=re.MULTILINE)
    text = re.sub(r":math:`([^`]*)`", lambda found: f"${' '.join(found.group(1).split())}$", text)
    return re.sub(r":(?:class|func|meth|mod|data|attr):`~?([^`]*)`", r"`\1`", text)


def prose(thing: object, told: set[str] | None = None) -> Iterator[str]:
    """What an object and the functions of its module that it refers to say before their arguments.

    Functions whose names were ``told`` before are left out.
    """
    told = set() if told is None else told
    text = re.split(r"^(?:Args|Returns|Example):$", inspect.getdoc(thing) or "", flags=re.MULTILINE)[0]
    yield re.sub(r"\n{3,}", "\n\n", markdown(text)).strip()
    for name in re.findall(r":func:`[\w.]*?(\w+)`", text):
        if name not in told and (named := getattr(inspect.getmodule(thing), name, None)):
            told.add(name)
            yield from prose(named, told)


def _formula(found: re.Match[str]) -> str:
    indent, formula = found.groups()
    tex = " ".join(formula.split())
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}} {tex} \end{{aligned}}"
    return f"\n{indent}$$\n{indent}{tex}\n{indent}$$\n"
