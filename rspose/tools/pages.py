"""The pages that are made from code or metadata, so that they cannot drift from it: `rspose docs`."""

from importlib import import_module

PAGES = {
    "config": ("config_page", "the models of the config"),
    "schema": ("config_schema", "the models of the config"),
    "losses": ("list_losses", "the loss files"),
    "published": ("mmpose_numbers", "the metadata of the installed mmpose"),
}
"""Of each page its module here, which has its place ``PAGE`` and what makes it, ``page``; and its source."""


def update_page(name: str, check: bool) -> str:
    """Write a page, or only see whether it is up to date; what was done, in words.

    Raises:
        ValueError: It is not up to date, and was only to be checked.
    """
    module_name, made_from = PAGES[name]
    module = import_module(f"rspose.tools.{module_name}")
    if not check:
        module.PAGE.write_text(module.page())
        if hasattr(module, "draw"):
            module.draw()
        return f"{module.PAGE} written"
    if not module.PAGE.is_file() or module.PAGE.read_text() != module.page():
        raise ValueError(f"{module.PAGE} differs from {made_from}: run make docs")
    return f"{module.PAGE} is up to date"
