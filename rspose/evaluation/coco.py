"""Average precision on COCO and CrowdPose by their official evaluator, as packaged by xtcocotools."""

import contextlib
import io
from importlib.metadata import version

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from rspose.evaluation.annotations import Annotations
from rspose.evaluation.predictions import Predictions
from rspose.keypoints import keypoint_set

EVALUATOR = f"xtcocotools {version('xtcocotools')}"
# Predictions per image that count, the best ones (``maxDets`` of the evaluator).
MAX_DETECTIONS = 20

# In the order of ``COCOeval.stats``. CrowdPose: easy, medium and hard images by their crowd index.
_METRICS = {
    "coco": ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"),
    "crowdpose": ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "APE", "APM", "APH"),
}
_IOU_TYPES = {"coco": "keypoints", "crowdpose": "keypoints_crowd"}


def average_precision(
    dataset: str, detections: Predictions, scores: np.ndarray, annotations: Annotations
) -> dict[str, float | None]:
    """The evaluator's numbers as fractions; None where no annotated person falls into a split.

    Args:
        dataset: ``coco`` or ``crowdpose``.
        detections: Predictions to evaluate, N of them, after suppression.
        scores: Their scores, ``[N]``.
        annotations: The validation split.
    """
    annotations.check_images(detections.image_id, detections.source)
    # The evaluator writes into results and annotations alike, hence results made for it alone; its
    # annotations are read from ``content``, which nothing reads afterwards.
    triplets = np.concatenate([detections.keypoints, detections.confidence[..., None]], axis=-1)
    results = [
        {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "bbox": box, "score": score}
        for image_id, keypoints, box, score in zip(
            detections.image_id.tolist(),
            triplets.reshape(len(detections), -1).tolist(),
            detections.box.tolist(),
            scores.tolist(),
            strict=True,
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations.path), ann_data=annotations.content)
        evaluator = COCOeval(
            truth,
            truth.loadRes(results),
            _IOU_TYPES[dataset],
            np.asarray(keypoint_set(dataset).sigmas),
            use_area=dataset == "coco",
        )
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(_METRICS[dataset], evaluator.stats, strict=True)
    }
