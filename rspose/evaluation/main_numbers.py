"""AP and AR of a split by faster-coco-eval, an evaluator that is not of this project: the main numbers.

It evaluates as COCO's own evaluator does, and CrowdPose as CrowdPose's. A part of COCO-WholeBody is given to
it as if it were the body.
"""

from collections.abc import Mapping
from functools import cache

import faster_coco_eval
import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from rspose.datasets import Dataset
from rspose.datasets.annotations import Annotations
from rspose.evaluation.coco import (
    CROWDEDNESS,
    METRICS,
    OF_A_PART,
    WITHOUT_AREAS,
    areas,
    crowdedness,
    with_hands,
)
from rspose.evaluation.matching import Candidates
from rspose.evaluation.predictions import Predictions

EVALUATOR = f"faster-coco-eval {faster_coco_eval.__version__}"

# AP of easy, medium and hard images is rounded to four digits, and what is halfway may go either way.
_ROUNDED, _SAME = 1.001e-4, 1e-9


def main_numbers(
    known: Dataset,
    detections: Predictions,
    scores: np.ndarray,
    kept: np.ndarray,
    pairs: Mapping[str, Candidates],
    annotations: Annotations,
) -> dict[str, float]:
    """The metrics by name, fractions; NaN where no annotated person falls into a split.

    Arguments as for :func:`rspose.evaluation.coco.average_precision`. Of the pairs it takes who is in which
    image and who is ignored, not their OKS.
    """
    images = [{"id": at} for at in range(pairs[""].images)]
    if known.crowded:
        for image, index in zip(images, crowdedness(annotations).tolist(), strict=True):
            image["crowdIndex"] = index
    of_detections = areas(known, detections)
    values: dict[str, float] = {}
    for part, of_part in pairs.items():
        columns = known.keypoints.parts.get(part, slice(None))
        rows = np.flatnonzero(kept & detections.confident(columns))
        persons = _entries(
            annotations.keypoints[:, columns],
            annotations.flags[:, columns],
            image_id=of_part.image_of_person,
            bbox=annotations.box,
            area=annotations.area,
            iscrowd=of_part.crowd.astype(int),
            num_keypoints=(~of_part.ignored).astype(int),
        )
        found = _entries(
            detections.keypoints[rows][:, columns],
            detections.confidence[rows][:, columns],
            image_id=of_part.image[rows],
            area=of_detections[rows],
            score=scores[rows],
        )
        truth, results = (
            COCO({"images": images, "categories": [{"id": 1}], "annotations": each})
            for each in (persons, found)
        )
        truth.annotation_file = {"images": images}  # read again for crowd indices
        evaluator = COCOeval_faster(
            truth,
            results,
            "keypoints_crowd" if known.crowded else "keypoints",
            kpt_oks_sigmas=known.keypoints.sigmas[columns],
            use_area=not known.crowded,
        )
        if known.crowded:  # it asks again when it comes to easy, medium and hard images
            evaluator.computeOks = cache(evaluator.computeOks)
        evaluator.run()
        names = (*WITHOUT_AREAS, *CROWDEDNESS) if known.crowded else tuple(METRICS)
        stats = np.where(evaluator.stats < 0, np.nan, evaluator.stats).tolist()
        of_all = dict(zip(names, stats, strict=True))
        values |= {f"{name}_{part}": of_all[name] for name in OF_A_PART} if part else of_all
    return with_hands(values)


def _entries(keypoints: np.ndarray, third: np.ndarray, **columns: np.ndarray) -> list[dict]:
    """N persons in COCO's form, of keypoints ``[N, K, 2]`` and their flags or confidences ``[N, K]``."""
    triplets = np.concatenate([keypoints, third[..., None]], axis=2, dtype=np.float64)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        {"id": number, "category_id": 1, "keypoints": triplet, **dict(zip(columns, row, strict=True))}
        for number, (triplet, row) in enumerate(
            zip(triplets.reshape(len(triplets), 3 * third.shape[1]), rows, strict=True), start=1
        )
    ]


def check_equal(main: Mapping[str, float], own: Mapping[str, np.ndarray], source: str) -> None:
    """Raise ``ValueError`` where a number and the first of its ``[1 + R]`` replicates are not the same."""
    for name, expected in main.items():
        found, near = own[name][0], _ROUNDED if name in CROWDEDNESS and "APE" in main else _SAME
        if not np.isclose(found, expected, rtol=0, atol=near, equal_nan=True):
            raise ValueError(
                f"{source}: {name}: expected the {expected:.12g} of {EVALUATOR}, found {found:.12g} by the "
                "matching that intervals and repairs rest on; please report it together with this file"
            )
