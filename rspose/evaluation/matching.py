"""Who of an image's persons a prediction is matched with, and what the evaluator makes of it.

The OKS of all pairs are computed once. Who is matched with whom is asked dozens of times, for other scores,
thresholds and areas: a step takes the next best prediction of every image at once.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from rspose.datasets import Dataset
from rspose.datasets.annotations import Annotations
from rspose.datasets.boxes import intersection_over_union
from rspose.evaluation.oks import in_same_image, oks_to_persons
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import Matches

# The evaluator's, with the number of predictions an image that count, the best ones.
OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 20
# The least OKS at which a prediction is taken to mean a person at all.
MATCHED = 0.1
NOBODY = -1


@dataclass(eq=False)
class Candidates:
    """The n pairs of one of N predictions and an annotated person of its image.

    Attributes:
        image: Index of the image of each prediction, int64 ``[N]``, ascending.
        image_of_person: That of each annotated person, int64 ``[G]``.
        images: How many there are.
        ignored: Persons that count neither for nor against, bool ``[G]``.
        crowd: Those of them that may be matched more than once, bool ``[G]``.
        row: The prediction of each pair, int64 ``[n]``.
        person: The person of each pair, int64 ``[n]``.
        oks: ``[n]``.
    """

    image: np.ndarray
    image_of_person: np.ndarray
    images: int
    ignored: np.ndarray
    crowd: np.ndarray
    row: np.ndarray
    person: np.ndarray
    oks: np.ndarray

    @cached_property
    def _preferred(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, person and OKS of pairs that may be matched, row by row, the one that it prefers first."""
        near = np.flatnonzero(self.oks >= MATCHED)
        person = self.person[near]
        # A person that counts before one to be ignored, then the highest OKS; of equal ones the later.
        near = near[np.lexsort((-person, -self.oks[near], self.ignored[person], self.row[near]))]
        return self.row[near], self.person[near], self.oks[near]

    def moved(
        self, rows: np.ndarray, keypoints: np.ndarray, annotations: Annotations, falloff: np.ndarray
    ) -> Self:
        """Over all keypoints, with others ``[n, K, 2]`` of the predictions in n rows."""
        at, person = in_same_image(self.image[rows], self.image_of_person)
        oks = oks_to_persons(keypoints, at, annotations, person, falloff, {})[""]
        stay = np.full(len(self.image), True)
        stay[rows] = False
        others = stay[self.row]
        columns = ((self.row, rows[at]), (self.person, person), (self.oks, oks))
        row, person, oks = (np.concatenate([old[others], new]) for old, new in columns)
        return replace(self, row=row, person=person, oks=oks)

    def ranked(
        self, scores: np.ndarray, among: np.ndarray, most: int = MAX_DETECTIONS
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best predictions of each image, the best of the split first, and their places in their images.

        Scores are ``[N]``; only those ``among``, bool ``[N]``, count; of equal ones the first. int64 ``[D]``
        each.
        """
        rows = np.flatnonzero(among)
        rows = rows[_descending(scores[rows])]
        # Small types are sorted much faster.
        by_image = np.argsort(self.image[rows].astype(np.min_scalar_type(self.images)), kind="stable")
        image = self.image[rows[by_image]]
        first = np.searchsorted(image, np.arange(self.images))
        place = np.empty(len(rows), dtype=np.int64)
        place[by_image] = np.arange(len(rows)) - first[image]
        best = place < most
        return rows[best], place[best]

    def match(self, rows: np.ndarray, places: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """The person each prediction is matched with, as the evaluator does it, int32 ``[T, D]``, -1: nobody.

        From the best of the D predictions of an image on, each takes the free person of the highest OKS, if
        that reaches the threshold, of ``[T]``; one to be ignored only where no other is left. Of equal ones
        the later person is taken. A crowd never counts as taken.
        """
        at = np.full(len(self.image), -1)
        at[rows] = np.arange(len(rows))
        row, person, oks = self._preferred
        row = at[row]
        (pairs,) = np.nonzero((row >= 0) & (oks >= thresholds.min(initial=1.0)))
        place = places[row[pairs]]
        order = np.argsort(place.astype(np.min_scalar_type(len(rows))), kind="stable")
        pairs, place = pairs[order], place[order]
        row, person, reached = row[pairs], person[pairs], oks[pairs] >= thresholds[:, None]
        first = np.diff(row, prepend=NOBODY) != 0
        free = np.ones((len(thresholds), len(self.ignored)), dtype=bool)
        matched = np.full((len(thresholds), len(rows)), NOBODY, dtype=np.int32)
        none = len(pairs)
        for start, end in _runs(place):
            of_step = person[start:end]
            open_ = reached[:, start:end] & (free[:, of_step] | self.crowd[of_step])
            candidate = np.where(open_, np.arange(start, end), none)
            best = np.minimum.reduceat(candidate, np.flatnonzero(first[start:end]), axis=1)
            threshold, which = np.nonzero(best < none)
            taken = best[threshold, which]
            matched[threshold, row[taken]] = person[taken]
            free[threshold, person[taken]] = False
        return matched

    def matches(self, scores: np.ndarray, among: np.ndarray, excused: np.ndarray | None = None) -> Matches:
        """What the evaluator counts; those ``excused``, bool ``[N]``, are not wrong without a person."""
        rows, places = self.ranked(scores, among)
        matched = self.match(rows, places, OKS_THRESHOLDS)
        right = ~np.append(self.ignored, True)[matched]  # nobody is the last entry
        wrong = matched == NOBODY
        if excused is not None:
            wrong &= ~excused[rows]
        persons = np.bincount(self.image_of_person[~self.ignored], minlength=self.images)
        return Matches(self.image[rows], right, wrong, persons)

    def best(self, persons: np.ndarray) -> np.ndarray:
        """The highest OKS of each prediction with one of some persons, bool ``[G]``; 0 without, ``[N]``."""
        highest = np.zeros(len(self.image))
        of_these = persons[self.person]
        np.maximum.at(highest, self.row[of_these], self.oks[of_these])
        return highest


def _descending(values: np.ndarray) -> np.ndarray:
    """Indices from the highest value on, of equal ones the first: as a stable sort, in half of its time."""
    order = np.argsort(-values)
    tied = np.diff(values[order]) == 0
    run = np.append(0, np.cumsum(~tied))[: len(values)]
    return order[np.argsort(run * len(values) + order)] if tied.any() else order


def _runs(values: np.ndarray) -> zip:
    """Start and end of each run of equal values."""
    edges = np.flatnonzero(np.diff(values, prepend=-1, append=-1))
    return zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def candidates(known: Dataset, predictions: Predictions, annotations: Annotations) -> dict[str, Candidates]:
    """Predictions in the order of their images with the persons of these, by index, ascending.

    Those of all keypoints have the empty name; of a part, those are ignored who have no label in it.
    """
    images = np.unique(annotations.known_images)
    image, of_person = (np.searchsorted(images, each.image_id) for each in (predictions, annotations))
    row, person = in_same_image(image, of_person)
    joints, crowd = known.keypoints, annotations.crowd
    oks = oks_to_persons(predictions.keypoints, row, annotations, person, joints.falloff, joints.parts)
    ignored = {"": annotations.ignored} | {
        part: crowd | ~annotations.labelled[:, columns].any(axis=1) for part, columns in joints.parts.items()
    }
    return {
        part: Candidates(image, of_person, len(images), ignored[part], crowd, row, person, oks[part])
        for part in oks
    }


def persons_in_boxes(
    predictions: Predictions, annotations: Annotations, least: float, counting: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The predictions whose box holds a person, and the person whose box overlaps most with it.

    A box holds a person from an intersection over union of ``least`` on; only ``counting`` persons are looked
    for, bool ``[G]`` of all. Rows of predictions, ascending, and of persons, both int64 ``[n]``.
    """
    among = np.flatnonzero(counting)
    row, person = in_same_image(predictions.image_id, annotations.image_id[among])
    overlap = intersection_over_union(predictions.box[row], annotations.box[among[person]])
    near = np.flatnonzero(overlap >= least)
    near = near[np.lexsort((-overlap[near], row[near]))]
    _, first = np.unique(row[near], return_index=True)
    return row[near[first]], among[person[near[first]]]
