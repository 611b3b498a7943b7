"""What the records answer, in one sentence a dataset, model and head: what a reader looks for first."""

import math
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from rspose.reporting import notes
from rspose.reporting.results import Results
from rspose.reporting.statistics import KEY, REFERENCE, Verdict
from rspose.reporting.style import dataset_title, head_label

_APART = "no seed in common with MSE on the same data"


class Answer(NamedTuple):
    """Which losses are better than MSE in one dataset, model and head, and which are not known to be."""

    place: str
    text: str
    conditions: str  # how the numbers were made, as far as it changes what they say


def answers(results: Results) -> list[Answer]:
    """The answers of all datasets, models and heads that have trained cells, in the order of the tables."""
    models = {cell[1] for cell, records in results.cells.items() if not records[0].control}
    found = []
    for (dataset, model, head), cells in groupby(results.cells, key=lambda cell: cell[:3]):
        losses = [cell[3] for cell in cells if not results.cells[cell][0].control]
        if losses:
            named = (f"{dataset_title(dataset)} val", head_label(head), *([model] if len(models) > 1 else ()))
            runs = results.runs[~results.runs.control].set_index(KEY[:3]).loc[[(dataset, model, head)]]
            seeds = runs.seed.nunique()
            made = [
                *notes.conditions(runs.reset_index()),
                *([] if "training.tuning.trials" in runs else ["not tuned"]),
                notes.iterations(runs),
                "one seed" if seeds == 1 else f"{seeds} seeds",
            ]
            text = _sentence(results, (dataset, model, head), losses)
            found.append(Answer(", ".join(named), text, "; ".join(filter(None, made))))
    return found


def _sentence(results: Results, place: tuple[str, str, str], losses: list[str]) -> str:
    metric = results.main_metrics[place[0]]
    known = {loss: results.values.get((*place, loss, metric)) for loss in losses}
    means = {loss: value.mean for loss, value in known.items() if value and not math.isnan(value.mean)}
    name = metric.removeprefix("metrics.")
    ordered = sorted(means, key=lambda loss: -means[loss])
    of_place = results.differences[list(results.differences.columns[:3])].eq(place).all(axis=1)
    compared: pd.DataFrame = results.differences[of_place].set_index("loss")
    decided = [loss for loss in ordered if loss in compared.index and compared.verdict[loss] is not None]
    if not decided:
        listed = ", ".join(f"{results.labels[loss]} {100 * means[loss]:.1f}" for loss in ordered)
        why = "no record of MSE to compare with"
        if REFERENCE in means:
            why = "one seed decides nothing" if len(compared) else _APART
        return f"{name}: {listed}; {why}."
    said = [f"{name} of MSE {100 * means[REFERENCE]:.1f}"]
    for verdict in Verdict:
        those = [loss for loss in decided if compared.verdict[loss] == verdict]
        if those:
            gains = ", ".join(_gain(results, loss, compared.difference[loss]) for loss in those)
            said.append(f"{verdict}: {gains}")
    rest = [loss for loss in ordered if loss not in decided and loss != REFERENCE]
    for why, those in (
        ("one seed, which decides nothing", [loss for loss in rest if loss in compared.index]),
        (_APART, [loss for loss in rest if loss not in compared.index]),
    ):
        if those:
            said.append(f"{why}: {', '.join(results.labels[loss] for loss in those)}")
    return f"{'; '.join(said)}."


def _gain(results: Results, loss: str, difference: Any) -> str:
    number = f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{results.labels[loss]} ({number})"
