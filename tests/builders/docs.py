"""The code blocks and commands of the pages in docs/."""

import re
from pathlib import Path

from builders.grid import REPOSITORY


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language, in their order."""
    text = (REPOSITORY / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """The code blocks of a page that are whole files: those whose first line is a comment with its name."""
    named = ((re.match(r"# (\w+\.py)\n", block), block) for block in blocks(page, "python"))
    return {name[1]: block for name, block in named if name}


def write(folder: Path, contents: dict[str, str]) -> None:
    """Write files into a folder."""
    for name, text in contents.items():
        (folder / name).write_text(text)
