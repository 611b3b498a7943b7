"""Tuning: every loss gets the same number of trials, at the same quasi-random points of the same space.

The protocol of Dodge et al., "Show Your Work", EMNLP 2019, and of the external tuning rules of AlgoPerf
(Dahl et al., arXiv 2306.07179): an equal budget, scored on images that no table reports on.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rspose.grid.cell import Cell
from rspose.grid.config import ConfigError, GridConfig, LossSettings
from rspose.grid.files import write_json

SCORE = "keypoint AP on the annotated boxes of held-out training images"
_EDGE = 0.05
"""A value this near to an end, as a part of the range, lies at an edge of the space."""
_NOT_OF_A_CHOICE = {"choices", "dataset"}
"""Settings that say which choice is taken, not how it was made: its place names its dataset."""


@dataclass(frozen=True)
class Point:
    """What a trial changes: factors on learning rate and label width, and parameters of the loss."""

    learning_rate: float = 1.0
    sigma: float = 1.0
    parameters: dict[str, float] = field(default_factory=dict)


def tuned_on(config: GridConfig, cell: Cell) -> Cell:
    """A cell of the dataset whose trials choose for this one."""
    assert config.tuning is not None
    return cell._replace(dataset=config.tuning.dataset or cell.dataset)


def tuned_cell(config: GridConfig, wildcards: Any) -> Cell:
    """The loss, on a dataset, model and head, that the wildcards of a workflow's job name: trials' seed."""
    assert config.tuning is not None
    return Cell(wildcards.dataset, wildcards.model, wildcards.head, wildcards.loss, config.tuning.seed)


def folder(config: GridConfig, cell: Cell) -> Path:
    """Where the trials of a loss on a dataset, model and head lie, and what was chosen."""
    cell = tuned_on(config, cell)
    return config.results / "tuning" / cell.dataset / cell.model / cell.head / cell.loss


def points(config: GridConfig, loss: str, head: str) -> list[Point]:
    """The points of a loss's trials: the recipe as it stands first, then Halton's.

    Coordinates are those of one sequence for all losses: learning rate, label width, the parameters that the
    loss declares as ``tunable`` in their order.
    """
    from scipy.stats import qmc  # tables of finished records do without

    assert config.tuning is not None
    ranges = _ranges(config, loss, head)
    unit = qmc.Halton(4, seed=config.tuning.seed).random(config.tuning.trials - 1)
    names = [name.removeprefix("parameters.") for name in ranges]
    found = [Point()]
    for coordinates in unit.tolist():
        placed = (_placed(at, *limits) for at, limits in zip(coordinates, ranges.values(), strict=False))
        rate, sigma, *others = placed
        found.append(Point(rate, sigma, dict(zip(names[2:], others, strict=True))))
    return found


def tried(config: GridConfig, cell: Cell, number: int) -> tuple[GridConfig, Cell]:
    """Config and cell of a trial: a point, a shorter training, without the images that are held out."""
    assert config.tuning is not None
    cell = cell._replace(seed=config.tuning.seed)
    epochs = max(1, round(config.tuning.length * config.training_of(cell).epochs))
    held_out = config.tuning.held_out.model_dump()
    changed = _at(config, cell, points(config, cell.loss, cell.head)[number])
    training = {cell.dataset: {"epochs": epochs, "held_out": held_out}}
    return changed.laid_over({"model_settings": {cell.model: {"dataset_training": training}}}), cell


def kept(config: GridConfig, cell: Cell) -> dict[str, Any] | None:
    """What was chosen before for a loss, by the file ``tuning.choices``; None where that says nothing of it.

    Raises:
        ConfigError: The file is missing or damaged, or the choice was made with other settings.
    """
    assert config.tuning is not None
    file = config.tuning.choices
    if file is None:
        return None
    name = "/".join(tuned_on(config, cell)[:4])
    try:
        found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")).get(name)
    except FileNotFoundError:
        raise ConfigError.at("tuning.choices", f"expected a file; found none at {file}") from None
    except (ValueError, AttributeError):
        raise ConfigError.at("tuning.choices", f"{file}: expected what rspose choices writes") from None
    if found is None:
        return None
    try:
        Point(**found["tried"][found["chosen"]]["point"])
    except (KeyError, IndexError, TypeError):
        raise ConfigError.at(
            "tuning.choices", f"{file}: {name}: expected a choice and its trials, as rspose choices writes it"
        ) from None
    ours = config.tuning.model_dump(mode="json", exclude=_NOT_OF_A_CHOICE)
    for key, value in ours.items():
        if found.get(key) != value:
            raise ConfigError.at(
                f"tuning.{key}",
                f"{file} was made with {found.get(key)!r}; found {value!r}: take that, or leave out "
                "tuning.choices",
            )
    return found


def keep_choices(config: GridConfig, file: Path) -> int:
    """Write what was chosen in a grid, or before it, as a file for ``tuning.choices``; for how many losses.

    Where nothing was chosen, nothing is written.

    Raises:
        ConfigError: The config has no tuning, or as :func:`kept` raises it.
    """
    if config.tuning is None:
        raise ConfigError.at("tuning", "expected tuning, found none")
    made = {}
    for cell in dict.fromkeys(tuned_on(config, cell)._replace(seed=0, length=1.0) for cell in config.cells()):
        path = folder(config, cell) / "choice.json"
        chosen = json.loads(path.read_text()) if path.is_file() else kept(config, cell)
        if chosen:
            made["/".join(cell[:4])] = chosen
    if made:
        write_json(file, made)
    return len(made)


def trials_left(config: GridConfig, cells: Iterable[Cell]) -> list[tuple[Cell, float]]:
    """The trials that these cells still wait for: a cell of the loss, and the part of its training."""
    if config.tuning is None:
        return []
    left = []
    for cell in dict.fromkeys(tuned_on(config, cell)._replace(seed=0, length=1.0) for cell in cells):
        place = folder(config, cell)
        if not kept(config, cell) and not (place / "choice.json").is_file():
            done = sum((place / f"trial{number}.json").is_file() for number in range(config.tuning.trials))
            left += [(cell, part_of_cell(config))] * (config.tuning.trials - done)
    return left


def part_of_cell(config: GridConfig) -> float:
    """The steps of a trial, as a part of those of a cell of the recipe's length."""
    assert config.tuning is not None
    return config.tuning.length * (1 - config.tuning.held_out.share)


def choose(config: GridConfig, cell: Cell, trials: list[Path]) -> dict[str, Any]:
    """What the record says of the tuning: all trials, the one chosen, and what of it lies at an edge.

    Raises:
        ValueError: No trial has a score.
    """
    assert config.tuning is not None
    done = [json.loads(trial.read_text()) for trial in trials]
    scores = [trial["score"] for trial in done]
    if all(score is None for score in scores):
        raise ValueError(f"{cell.loss} loss: all {len(done)} trials failed; the first: {done[0]['failed']}")
    best = max(range(len(done)), key=lambda at: -1.0 if scores[at] is None else scores[at])
    values = _values(Point(**done[best]["point"]))
    ranges = _ranges(config, cell.loss, cell.head)
    at_edge = [
        name for name, limits in ranges.items() if name in values and _is_at_edge(values[name], *limits)
    ]
    settings = config.tuning.model_dump(mode="json", exclude=_NOT_OF_A_CHOICE)
    return {**settings, "tried": done, "chosen": best, "at_edge": at_edge, "scored_by": SCORE}


def write_choice(config: GridConfig, cell: Cell, trials: list[Path], choice: Path) -> None:
    """Write what :func:`choose` finds, or what :func:`kept` has of it."""
    write_json(choice, kept(config, cell) or choose(config, cell, trials))


def read_choice(config: GridConfig, cell: Cell) -> dict[str, Any] | None:
    """What was chosen for a cell, and the dataset that serves all; None where nothing is tuned."""
    if config.tuning is None:
        return None
    chosen = json.loads((folder(config, cell) / "choice.json").read_text())
    return {**chosen, "dataset": config.tuning.dataset}


def tuned(config: GridConfig, cell: Cell) -> GridConfig:
    """The config that a cell is trained by: at the point that was chosen for its loss, if there is tuning."""
    choice = read_choice(config, cell)
    if choice is None:
        return config
    return _at(config, cell, Point(**choice["tried"][choice["chosen"]]["point"]))


def _ranges(config: GridConfig, loss: str, head: str) -> dict[str, tuple[float, float, bool]]:
    from rspose.losses import available  # brings torch

    assert config.tuning is not None
    chosen = config.loss_of(loss, head)
    ranges: dict[str, tuple[float, float, bool]] = {}
    for name in ("learning_rate", "sigma"):
        lowest, highest = getattr(config.tuning, name)
        ranges[name] = (lowest, highest, True)
    given = config.loss_settings.get(loss, LossSettings()).parameters
    for parameter, lowest, highest, log in available()[chosen.loss].tunable:
        if parameter not in given:  # what the config sets is meant
            ranges[f"parameters.{parameter}"] = (lowest, highest, log)
    return ranges


def _placed(at: float, lowest: float, highest: float, log: bool) -> float:
    value = lowest * (highest / lowest) ** at if log else lowest + (highest - lowest) * at
    return float(f"{value:.4g}")


def _is_at_edge(value: float, lowest: float, highest: float, log: bool) -> bool:
    ends = _placed(_EDGE, lowest, highest, log), _placed(1 - _EDGE, lowest, highest, log)
    return not ends[0] < value < ends[1]


def _values(point: Point) -> dict[str, float]:
    parameters = {f"parameters.{name}": value for name, value in point.parameters.items()}
    return {"learning_rate": point.learning_rate, "sigma": point.sigma, **parameters}


def _at(config: GridConfig, cell: Cell, point: Point) -> GridConfig:
    """The config with the loss, and the labels of the cell's model and head, at a point."""
    sigma = config.model_settings[cell.model].sigma_of(cell.head, cell.dataset)
    scaled = [each * point.sigma for each in sigma] if isinstance(sigma, list) else sigma * point.sigma
    chosen = config.loss_of(cell.loss, cell.head)
    settings = config.loss_settings.get(cell.loss, LossSettings())
    loss = {
        "head_learning_rate_factor": {cell.head: chosen.learning_rate_factor * point.learning_rate},
        # What the config sets is meant, also after a choice that was made without it.
        **({"parameters": {**point.parameters, **settings.parameters}} if point.parameters else {}),
    }
    return config.laid_over(
        {
            "model_settings": {cell.model: {"sigma": {cell.head: scaled}}},
            "loss_settings": {cell.loss: loss},
        }
    )
