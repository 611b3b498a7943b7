"""The Rank & Sort definition as loops over one row, which the fast implementations are compared with.

Oksuz et al., "Rank & Sort Loss for Object Detection and Instance Segmentation", ICCV 2021, equations 7 to 9.
"""

import torch
from torch import Tensor

EPS = 1e-10


def step(x: float, delta: float) -> float:
    """H(x), the smoothed step."""
    if delta == 0:
        return float(x >= 0)
    return min(max(x / (2 * delta) + 0.5, 0.0), 1.0)


def rank_sort_row(
    scores: list[float], labels: list[float], delta: float
) -> tuple[float, float, list[float], list[float]]:
    """Return rank and sort error of one row, and the gradient of each, straight from the definition."""
    positives = [i for i, y in enumerate(labels) if y > 0]
    rank_gradient, sort_gradient = [0.0] * len(scores), [0.0] * len(scores)
    if not positives:
        return 0.0, 0.0, rank_gradient, sort_gradient
    lowest = min(scores[i] for i in positives) - delta
    negatives = [j for j, y in enumerate(labels) if y == 0 and scores[j] >= lowest]
    rank_total = sort_total = 0.0
    for i in positives:
        above = {j: step(scores[j] - scores[i], delta) for j in positives + negatives}
        rank_plus = sum(above[j] for j in positives)
        false_positives = sum(above[j] for j in negatives)
        ranking = false_positives / (rank_plus + false_positives)
        sorting = sum(above[j] * (1 - labels[j]) for j in positives) / rank_plus
        rightly = [j for j in positives if labels[j] >= labels[i]]
        target = sum(above[j] * (1 - labels[j]) for j in rightly) / sum(above[j] for j in rightly)
        rank_total += ranking
        sort_total += sorting - target
        if false_positives > EPS:
            rank_gradient[i] -= ranking
            for j in negatives:
                rank_gradient[j] += above[j] / false_positives * ranking
        wrongly = [j for j in positives if labels[j] < labels[i]]
        missorted = sum(above[j] for j in wrongly)
        if missorted > EPS:
            sort_gradient[i] -= sorting - target
            for j in wrongly:
                sort_gradient[j] += above[j] / missorted * (sorting - target)
    n = len(positives)
    return rank_total / n, sort_total / n, [g / n for g in rank_gradient], [g / n for g in sort_gradient]


def rank_sort_reference(
    scores: Tensor, labels: Tensor, delta: float, valid: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rank ``[M]``, sort ``[M]`` and their gradients ``[M, N]``, row by row in Python floats."""
    rank, sort = scores.new_zeros(len(scores)), scores.new_zeros(len(scores))
    gradients = torch.zeros_like(scores), torch.zeros_like(scores)
    for m in range(len(scores)):
        kept = torch.ones_like(labels[m], dtype=torch.bool) if valid is None else valid[m]
        row = rank_sort_row(scores[m, kept].tolist(), labels[m, kept].tolist(), delta)
        rank[m], sort[m] = row[:2]
        for gradient, values in zip(gradients, row[2:], strict=True):
            gradient[m, kept] = scores.new_tensor(values)
    return rank, sort, *gradients
