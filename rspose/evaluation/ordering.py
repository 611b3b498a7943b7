"""What the order of predictions is worth: AP with oracle scores, and against the thresholds on scores."""

from typing import Any

import numpy as np

from rspose.evaluation.detections import NMS_THRESHOLD, instance_scores
from rspose.evaluation.matching import Candidates
from rspose.evaluation.oks import Neighbours
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import precision_and_recall

# 1 suppresses nothing: no OKS is above it.
NMS_THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
SCORE_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def average_precision(
    pairs: Candidates, scores: np.ndarray, among: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """AP, the mean over the OKS thresholds, if images occurred ``counts`` ``[I, R]`` times, else once.

    Of the predictions ``among``, bool ``[N]``, by scores ``[N]``. Fractions, float64 ``[R]``, NaN where no
    person counts.
    """
    counts = np.ones((pairs.images, 1), dtype=np.int32) if counts is None else counts
    return precision_and_recall(pairs.matches(scores, among), counts)[0].mean(axis=0)


def oracle_scores(pairs: Candidates, among: np.ndarray) -> np.ndarray:
    """Scores that put the predictions ``among``, bool ``[N]``, into the best order, float64 ``[N]``.

    From the highest OKS down, a person gives it as score to a prediction, each to one and each from one at
    most. All others get 0: a second prediction of a person is wrong, however well it fits.
    """
    scores = np.zeros(len(among))
    fitting = np.flatnonzero(among[pairs.row] & ~pairs.ignored[pairs.person] & (pairs.oks > 0))
    fitting = fitting[np.argsort(-pairs.oks[fitting], kind="stable")]
    columns = (column[fitting].tolist() for column in (pairs.row, pairs.person, pairs.oks))
    scored, given = set(), set()
    for row, person, oks in zip(*columns, strict=True):
        if row not in scored and person not in given:
            scores[row] = oks
            scored.add(row)
            given.add(person)
    return scores


def lost_to_ordering(
    pairs: Candidates, among: np.ndarray, measured: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """``AP_oracle_scores`` of what NMS kept, ``among``, and ``AP_lost``, how much less AP was ``measured``.

    Fractions, float64 ``[R]`` for ``counts`` ``[I, R]``; NaN where no person counts.
    """
    best = average_precision(pairs, oracle_scores(pairs, among), among, counts)
    return {"AP_oracle_scores": best, "AP_lost": best - measured}


def threshold_curves(
    pairs: Candidates, neighbours: Neighbours, detections: Predictions
) -> dict[str, dict[str, Any]]:
    """AP against the thresholds of OKS-NMS (``nms``) and of the keypoint scores, all else as ever.

    Each has the lists ``threshold``, ``AP`` (scores from confidences) and ``AP_box_score`` (a detection keeps
    the score of its box, in which keypoint scores have no part). All are of the detections before
    suppression.
    """
    rescored = instance_scores(detections)
    by_nms = {
        name: [_precision(pairs, neighbours, detections, scores, each) for each in NMS_THRESHOLDS]
        for name, scores in (("AP", rescored), ("AP_box_score", detections.box_score))
    }
    of_boxes = by_nms["AP_box_score"][NMS_THRESHOLDS.index(NMS_THRESHOLD)]
    return {
        "nms": {"threshold": list(NMS_THRESHOLDS), **by_nms},
        "keypoint_score": {
            "threshold": list(SCORE_THRESHOLDS),
            "AP": keypoint_score_curve(pairs, neighbours, detections),
            "AP_box_score": [of_boxes] * len(SCORE_THRESHOLDS),
        },
    }


def keypoint_score_curve(
    pairs: Candidates, neighbours: Neighbours, detections: Predictions
) -> list[float | None]:
    """AP at each threshold on keypoint scores, otherwise as :func:`threshold_curves`."""
    return [
        _precision(pairs, neighbours, detections, instance_scores(detections, each), NMS_THRESHOLD)
        for each in SCORE_THRESHOLDS
    ]


def _precision(
    pairs: Candidates, neighbours: Neighbours, detections: Predictions, scores: np.ndarray, nms: float
) -> float | None:
    among = neighbours.kept(scores, nms) & detections.confident()
    (found,) = average_precision(pairs, scores, among).tolist()
    return None if np.isnan(found) else found
