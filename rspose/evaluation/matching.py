"""AP on arrays, for studies that ask for it dozens of times a cell, and who is matched with whom.

The AP is that of the official evaluator over all sizes (:mod:`rspose.evaluation.coco`, for the tables), in
milliseconds: the OKS of all pairs are computed once, and an order of predictions is matched once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rspose.datasets.annotations import Annotations
from rspose.datasets.boxes import intersection_over_union
from rspose.evaluation.coco import MAX_DETECTIONS
from rspose.evaluation.detections import rows_by_image
from rspose.evaluation.oks import oks_to_persons
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import Matches, precision_and_recall

# The evaluator's.
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
NOBODY = -1


@dataclass(eq=False)
class ImagePairs:
    """The D predictions and the G annotated persons of one image.

    Attributes:
        image_id: The image.
        rows: Indices of the predictions among all, int64 ``[D]``.
        persons: Indices of the persons among all, int64 ``[G]``.
        oks: ``[D, G]``.
        ignored: Persons that count neither for nor against, bool ``[G]``.
        crowd: Those of them that may be matched more than once, bool ``[G]``.
    """

    image_id: int
    rows: np.ndarray
    persons: np.ndarray
    oks: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray
    _matched: dict[bytes, np.ndarray] = field(default_factory=dict, repr=False)

    def matches(self, order: np.ndarray) -> np.ndarray:
        """:func:`match` at the evaluator's OKS thresholds, remembered, int64 ``[10, len(order)]``."""
        key = order.tobytes()
        if key not in self._matched:
            self._matched[key] = match(self.oks[order], self.ignored, self.crowd, OKS_THRESHOLDS)
        return self._matched[key]


def pair(
    predictions: Predictions, annotations: Annotations, falloff: np.ndarray, counted: np.ndarray | None = None
) -> list[ImagePairs]:
    """Predictions and persons image by image, in the order of image ids; images with neither are left out.

    ``counted`` are the rows that count; by default, as in the evaluator, those with any confidence above 0.
    """
    if counted is None:
        counted = np.flatnonzero((predictions.confidence > 0).any(axis=1))
    rows_of = {image: counted[rows] for image, rows in rows_by_image(predictions.image_id[counted])}
    persons_of = dict(rows_by_image(annotations.image_id))
    none = np.zeros(0, dtype=np.int64)
    pairs = []
    for image in sorted(rows_of.keys() | persons_of.keys()):
        rows, persons = rows_of.get(image, none), persons_of.get(image, none)
        oks = oks_to_persons(predictions.keypoints[rows], annotations, persons, falloff)
        ignored, crowd = annotations.ignored[persons], annotations.crowd[persons]
        pairs.append(ImagePairs(image, rows, persons, oks, ignored, crowd))
    return pairs


def persons_in_boxes(
    predictions: Predictions, annotations: Annotations, least: float, counting: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The predictions whose box holds a person, and the person whose box overlaps most with it.

    A box holds a person from an intersection over union of ``least`` on; only ``counting`` persons are looked
    for, bool ``[G]`` of all. Rows of predictions, image by image, and of persons, both int64 ``[n]``.
    """
    among = np.flatnonzero(counting)
    persons_of = {image: among[rows] for image, rows in rows_by_image(annotations.image_id[among])}
    found, held = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for image, rows in rows_by_image(predictions.image_id):
        if image in persons_of:
            persons = persons_of[image]
            overlap = intersection_over_union(predictions.box[rows], annotations.box[persons])
            near = overlap.max(axis=1) >= least
            found.append(rows[near])
            held.append(persons[overlap.argmax(axis=1)][near])
    return np.concatenate(found), np.concatenate(held)


def match(oks: np.ndarray, ignored: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The person each prediction is matched with, as the evaluator does it, int64 ``[T, D]``, -1 for nobody.

    From the first of D predictions on, each takes the free person of the highest OKS ``[D, G]``, if that
    reaches the threshold, of ``[T]``; one to be ignored (bool ``[G]``) only where no other is left. Of equal
    ones the later person is taken. A crowd (bool ``[G]``) never counts as taken.
    """
    matched = np.full((len(thresholds), len(oks)), NOBODY, dtype=np.int64)
    if not oks.size:
        return matched
    free = np.ones((len(thresholds), oks.shape[1]), dtype=bool)
    every = np.arange(len(thresholds))
    # Above every OKS of those to be ignored.
    preferred = oks + np.where(ignored, 0.0, 2.0)
    for index, (own, ranked) in enumerate(zip(oks, preferred, strict=True)):
        candidate = (own >= thresholds[:, None]) & (free | crowd)
        best = oks.shape[1] - 1 - np.where(candidate, ranked, -1.0)[:, ::-1].argmax(axis=1)
        found = candidate[every, best]
        matched[found, index] = best[found]
        free[every[found], best[found]] = False
    return matched


def replicated_precision(
    pairs: Sequence[ImagePairs],
    scores: np.ndarray,
    counts: np.ndarray,
    kept: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """AP, the mean over the OKS thresholds, if the I images occurred as often as ``counts`` ``[I, R]`` says.

    Scores are ``[N]``, of every prediction. ``kept`` are, for each image, the predictions that count, as
    indices into its ``rows``, by default all; of them the 20 best, of equal scores the first. Fractions,
    float64 ``[R]``, NaN where no person counts.
    """
    image_of, all_scores, right, wrong = [], [], [], []
    for index, image in enumerate(pairs):
        order = np.arange(len(image.rows)) if kept is None else kept[index]
        order = order[np.argsort(-scores[image.rows[order]], kind="stable")][:MAX_DETECTIONS]
        matched = image.matches(order)
        excused = np.append(image.ignored, False)[matched]  # nobody is the last entry
        image_of.append(np.full(len(order), index))
        all_scores.append(scores[image.rows[order]])
        right.append((matched != NOBODY) & ~excused)
        wrong.append(matched == NOBODY)
    persons = np.array([int((~image.ignored).sum()) for image in pairs])
    ranking = np.argsort(-np.concatenate(all_scores), kind="stable")
    true, false = (np.concatenate(side, axis=1)[:, ranking] for side in (right, wrong))
    matches = Matches(np.concatenate(image_of)[ranking], true, false, persons)
    return precision_and_recall(matches, counts)[0].mean(axis=0)
