"""A cell: one training run of a grid, and the key of its record."""

from typing import Any, NamedTuple, Self

from rspose.grid.fields import Length, Name, Seed

_LENGTH = "-length"


class Cell(NamedTuple):
    """One training run."""

    dataset: Name
    model: Name
    head: Name
    loss: Name
    seed: Seed
    length: Length = 1.0

    @classmethod
    def of(cls, wildcards: Any) -> Self:
        """The cell that the wildcards of a workflow's job name."""
        names = wildcards.dataset, wildcards.model, wildcards.head, wildcards.loss
        seed, _, length = wildcards.seed.partition(_LENGTH)
        return cls(*names, int(seed), float(length or 1))

    @property
    def path(self) -> str:
        """Folder of the cell below ``cells`` and ``records``."""
        length = "" if self.length == 1 else f"{_LENGTH}{self.length:g}"
        return f"{self.dataset}/{self.model}/{self.head}/{self.loss}/seed{self.seed}{length}"

    def __str__(self) -> str:
        length = "" if self.length == 1 else f", {self.length:g} times as long"
        return f"{self.dataset} {self.model} {self.head} {self.loss} seed {self.seed}{length}"
