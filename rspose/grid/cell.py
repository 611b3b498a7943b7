"""A cell: one training run of a grid."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, order=True)
class Cell:
    """One training run."""

    dataset: str
    model: str
    head: str
    loss: str
    seed: int

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
