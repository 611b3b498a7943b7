"""The pages that are made from code or metadata, so that they cannot drift from it: `rspose docs`."""

from pathlib import Path
from pkgutil import resolve_name

ROOT = Path(__file__).parents[2]
MARK = "<!-- From here on `make docs` writes this page: edit what it is made from. -->\n\n"
"""What stands above it in a Markdown page is written by hand."""

PAGES = {
    "config": ("config/README.md", "config_page:page", "the models of the config"),
    "schema": ("config/schema.json", "config_page:schema", "the models of the config"),
    "losses": ("docs/losses.md", "list_losses:page", "the loss files"),
    "published": (
        "results/published/mmpose.csv",
        "mmpose_numbers:page",
        "the metadata of the installed mmpose",
    ),
}
"""Of each page its place, the function here that makes it, and from what."""


def update_page(name: str, check: bool) -> str:
    """Write a page, or only see whether it is up to date; what was done, in words.

    Raises:
        ValueError: It is not up to date, and was only to be checked.
    """
    file, maker, made_from = PAGES[name]
    place, text = ROOT / file, resolve_name(f"rspose.tools.{maker}")()
    found = place.read_text() if place.is_file() else ""
    if file.endswith(".md"):
        text = found.partition(MARK)[0] + MARK + text
    if check:
        if found != text:
            raise ValueError(f"{place} differs from {made_from}: run make docs")
        return f"{place} is up to date"
    place.write_text(text)
    if name == "losses":
        from rspose.tools.loss_pictures import draw_losses

        draw_losses(place.parent / "figures" / "losses")
    return f"{place} written"
