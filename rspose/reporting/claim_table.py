"""The table of what publications claim beside what was measured."""

import pandas as pd

from rspose.reporting import notes
from rspose.reporting.published import TOLERANCE, Claim, verdict
from rspose.reporting.results import Results, head_label
from rspose.reporting.statistics import KEY
from rspose.reporting.style import dataset_order, dataset_title, head_order, loss_order, main_metric
from rspose.reporting.table import Column, Row, Table, Value

VERDICTS = (
    "Claimed: published for this cell (results/published). A measured number within "
    f"{100 * TOLERANCE:.1f} points of it has reproduced it. Only numbers on real data are compared."
)


def claim_table(results: Results) -> Table:
    """A row a published number: claimed, measured, verdict, source, and the command where it was not run.

    LaTeX has the source in short and no commands: they are wider than a page.
    """
    rows = []
    for claim, value in _claims(results):
        # Of a file of mmpose's documentation the name says no more than the row's labels.
        place = "" if "/" in claim.table else claim.table
        entries = (
            Value(claim.value),
            "not run" if value is None else value,
            verdict(claim, None if value is None else value.mean),
            ", ".join(filter(None, (claim.source, place))),
            f"{', '.join(filter(None, (claim.source, claim.table)))}: {claim.row}",
            f"`{claim.command}`" if value is None else "",
        )
        stub = (dataset_title(claim.dataset), claim.model, head_label(claim.head), claim.title)
        cells = (None, claim.cell, None, None, None, None)
        rows.append(Row(stub, f"{claim.dataset} {claim.model}", False, entries, cells))
    return Table(
        "claimed",
        "Claimed and measured, real data: AP, on MPII PCKh (%)",
        ("Dataset", "Model", "Head", "Loss"),
        (
            Column("", "claimed", competes=False),
            Column("", "measured", competes=False),
            Column("", "verdict", competes=False, text=True),
            Column("", "source", competes=False, text=True, only="paper"),
            Column("", "source", competes=False, text=True, only="screen"),
            Column("", "command", competes=False, text=True, only="screen"),
        ),
        tuple(rows),
        (
            f"{VERDICTS} The sources in full, and the commands that run what was not run, are in claimed.md.",
            notes.spread(results.runs, results.summary),
        ),
    )


def claim_numbers(results: Results) -> pd.DataFrame:
    """The table's numbers in full, one row a claim."""
    lines = []
    for claim, value in _claims(results):
        mean = None if value is None else value.mean
        low, high = (None, None) if value is None or value.interval is None else value.interval
        cell = (*claim.cell, f"metrics.{claim.metric}", claim.value, mean, low, high)
        lines.append((*cell, verdict(claim, mean), claim.source, claim.table, claim.row, claim.command))
    measured = ["claimed", "measured", "low", "high", "verdict"]
    return pd.DataFrame(lines, columns=[*KEY, "metric", *measured, "source", "table", "row", "command"])


def _claims(results: Results) -> list[tuple[Claim, Value | None]]:
    """What is claimed of cells in the main metric, and what was measured on real data."""
    claims = [claim for claim in results.claims if claim.model and claim.metric == main_metric(claim.dataset)]
    claims.sort(
        key=lambda claim: (
            dataset_order(claim.dataset),
            head_order(claim.head),
            claim.model,
            loss_order(claim.loss, False),
        )
    )
    measured = [
        results.values.get((*claim.cell, f"metrics.{claim.metric}"))
        if claim.dataset in results.real
        else None
        for claim in claims
    ]
    return list(zip(claims, measured, strict=True))
