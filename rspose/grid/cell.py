"""A cell: one training run of a grid, and the key of its record."""

from typing import Any, NamedTuple, Self

from rspose.grid.fields import Name, Seed


class Cell(NamedTuple):
    """One training run."""

    dataset: Name
    model: Name
    head: Name
    loss: Name
    seed: Seed

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
