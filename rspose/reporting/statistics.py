"""Mean and spread over the seeds of a cell."""

import pandas as pd

KEY = ["dataset", "model", "head", "loss"]
"""What a group of seeds has in common."""


def over_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of every metric and correlation of every cell.

    Args:
        runs: One row a record, as :func:`rspose.reporting.records.collect` gives it.

    Returns:
        One row for each dataset, model, head, loss and ``metric`` (``metrics.AP``,
        ``confidence.pose.kendall``, ...), with ``mean``, ``std`` (of the sample, n - 1; NaN for one seed) and
        ``seeds`` (how many have a number). A metric no seed has a number for (an empty split) has no row.
    """
    scores = [
        name
        for name in runs.columns
        if name.startswith("metrics.") or name.endswith((".spearman", ".kendall"))
    ]
    long = runs.melt(id_vars=KEY, value_vars=scores, var_name="metric", value_name="value").dropna(
        subset="value"
    )
    values = long.astype({"value": float}).groupby([*KEY, "metric"], sort=False)["value"]
    return values.agg(mean="mean", std="std", seeds="count").reset_index()
