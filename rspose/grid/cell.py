"""A cell: one training run of a grid, and the key of its record."""

import re
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,99}", text):
        raise PydanticCustomError(
            "expected", "a name: at most 100 letters, digits, . _ + -, the first of them no . or -"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]
"""What may be called a dataset, model, head or loss: names become folders and parts of commands."""


class Cell(NamedTuple):
    """One training run."""

    dataset: Name
    model: Name
    head: Name
    loss: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @classmethod
    def of(cls, wildcards: Any) -> Self:
        """The cell that the wildcards of a workflow's job name."""
        return cls(wildcards.dataset, wildcards.model, wildcards.head, wildcards.loss, int(wildcards.seed))

    @property
    def path(self) -> str:
        """Folder of the cell below ``cells`` and ``records``."""
        return f"{self.dataset}/{self.model}/{self.head}/{self.loss}/seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.dataset} {self.model} {self.head} {self.loss} seed {self.seed}"
