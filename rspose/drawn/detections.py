"""Boxes as a person detector would give them: shifted, doubled, missing, wrong, and scored imperfectly."""

import numpy as np

from rspose.datasets.boxes import intersection_over_union
from rspose.drawn.annotations import Record
from rspose.drawn.scene import Person

_MAX_DETECTIONS = 20  # of an image
_MISSES = 0.065
_DUPLICATES = 0.15
_FALSE_POSITIVES_PER_PERSON = 0.14
_BOX_JITTER = 0.062
_DUPLICATE_JITTER = 0.14


def _jittered(rng: np.random.Generator, box: np.ndarray, spread: float, size: tuple[int, int]) -> np.ndarray:
    """A box whose edges moved by a fraction of its sides, clipped to the image; x, y, width, height."""
    x, y, width, height = box
    # Heavy tails: most boxes are tight, a few are badly off.
    moved = np.clip(rng.standard_t(4, 4), -4, 4) * spread * np.array((width, height, width, height))
    corners = np.clip(np.array((x, y, x + width, y + height)) + moved, 0, (*size, *size))
    return np.concatenate([corners[:2], np.maximum(corners[2:] - corners[:2], 2)])


def _score(rng: np.random.Generator, quality: float) -> float:
    """A score in (0, 1) that rises with a quality (0 is a coin's toss), noisily."""
    return float(1 / (1 + np.exp(-(quality + 1.1 * rng.standard_normal()))))


def detect_people(
    rng: np.random.Generator, people: list[Person], image_id: int, size: tuple[int, int]
) -> list[Record]:
    """Detections of one image, given its annotated people, in COCO's result format, best first."""
    truths = np.array([person.box for person in people]).reshape(-1, 4)
    found: list[tuple[float, np.ndarray]] = []
    for person, truth in zip(people, truths, strict=True):
        # What is small or mostly covered is missed more often, and scored lower.
        clearness = np.log2(max(person.area, 1.0) / 1500.0) * 0.35 + 3.0 * (person.visible_share - 0.6)
        if rng.random() < _MISSES * np.exp(-0.35 * min(clearness, 2.0)):
            continue
        for spread, drop in ((_BOX_JITTER, 0.0), (_DUPLICATE_JITTER, 2.0)):
            if drop and rng.random() >= _DUPLICATES:
                continue
            box = _jittered(rng, truth, spread, size)
            overlap = float(intersection_over_union(box, truth))
            found.append((_score(rng, 1.6 + 0.7 * clearness + 7.0 * (overlap - 0.75) - drop), box))
    for _ in range(rng.poisson(_FALSE_POSITIVES_PER_PERSON * (len(people) + 0.5))):
        found.append((_score(rng, -1.6), _false_box(rng, truths, size)))
    found.sort(key=lambda item: -item[0])
    return [
        {"bbox": box.tolist(), "category_id": 1, "image_id": image_id, "score": score}
        for score, box in found[:_MAX_DETECTIONS]
    ]


def _false_box(rng: np.random.Generator, truths: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A box around part of a person, around two people as one, or around nobody; x, y, width, height."""
    kind = rng.random()
    if len(truths) and kind < 0.35:
        x, y, width, height = truths[rng.integers(len(truths))]
        share = rng.uniform(0.3, 0.48)
        top = y if rng.random() < 0.5 else y + height * (1 - share)
        return _jittered(rng, np.array((x, top, width, height * share)), 0.05, size)
    if len(truths) > 1 and kind < 0.6:
        first, second = truths[rng.permutation(len(truths))[:2]]
        low = np.minimum(first[:2], second[:2])
        high = np.maximum(first[:2] + first[2:], second[:2] + second[2:])
        union = np.concatenate([low, high - low])
        if intersection_over_union(union, truths).max() < 0.5:
            return _jittered(rng, union, 0.04, size)
    height = size[1] * rng.uniform(0.12, 0.7)
    width = height * rng.uniform(0.3, 0.9)
    left, top = rng.uniform(0, size[0] - width * 0.5), rng.uniform(0, size[1] - height * 0.5)
    return _jittered(rng, np.array((left, top, width, height)), 0.02, size)
