"""What mkdocstrings shows of a docstring."""

from typing import Any

import griffe

from rspose.tools.docstrings import markdown


class Markdown(griffe.Extension):
    """Turn every docstring into Markdown before it is shown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring:
            # Griffe knows code that runs by the plural.
            obj.docstring.value = markdown(obj.docstring.value).replace("Example:\n", "Examples:\n")
