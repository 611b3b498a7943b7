"""Steps of mmpose's data pipeline that the benchmark needs in another form."""

import random
from collections.abc import Sequence
from ctypes import c_int64
from multiprocessing import Value
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import LoadImage, PackPoseInputs, RandomBBoxTransform
from mmpose.registry import TRANSFORMS
from scipy.special import ndtr, ndtri

_decoded: dict[str, np.ndarray] = {}


def seed_generators(*numbers: int) -> int:
    """Seed Python and numpy, which mmpose's steps draw from, with a function of some numbers; that seed."""
    value = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002
    return value


@TRANSFORMS.register_module()
class SeedSample(BaseTransform):
    """Seed the augmentation of a sample with a function of (seed, epoch, sample); the first step of training.

    So an augmented sample does not depend on what was drawn before it: not on the loss, nor on how many
    processes load the data, nor on where a training was resumed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Shared with the loading processes, which keep their copy of the pipeline from one epoch to the next.
        self.epoch: Any = Value(c_int64, 0, lock=False)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Seed the generators; ``results`` stay as they are."""
        seed_generators(self.seed, self.epoch.value, results["sample_idx"])
        return results


@TRANSFORMS.register_module()
class LoadCachedImage(LoadImage):
    """mmpose's ``LoadImage`` that decodes each file once per process.

    For datasets that fit into memory: decoding is most of what a training sample costs. The array is shared
    between samples, so no later step may write into it (mmpose's warp makes a new one).
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load the image of ``results["img_path"]``."""
        path = results["img_path"]
        if path in _decoded:
            results["img"] = _decoded[path]
            results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
            return results
        loaded = super().transform(results)
        if loaded is not None:
            loaded["img"].setflags(write=False)
            _decoded[path] = loaded["img"]
        return loaded


@TRANSFORMS.register_module()
class FastRandomBBoxTransform(RandomBBoxTransform):
    """mmpose's ``RandomBBoxTransform``, the same distribution drawn a hundred times faster.

    scipy's ``truncnorm.rvs`` takes most of a millisecond a sample, a third of a small training image's cost.
    """

    @staticmethod
    def _truncnorm(low: float = -1.0, high: float = 1.0, size: tuple[int, ...] = ()) -> np.ndarray:
        # The inverse of the normal distribution function, at a uniform number between those of the bounds.
        return ndtri(np.random.uniform(ndtr(low), ndtr(high), size)).astype(np.float32)  # noqa: NPY002


@TRANSFORMS.register_module()
class BlurAndDropout(BaseTransform):
    """The pixel augmentations of mmpose's RTMPose configs, which hand them to albumentations.

    ``Blur`` is the mean and ``MedianBlur`` the median over a square of 3, 5 or 7 pixels; ``CoarseDropout``
    blackens rectangles whose sides are drawn between fractions of the image's.

    Args:
        transforms: As for mmpose's ``Albumentation``: a mapping a step, with its ``type``, its probability
            ``p`` and, for ``CoarseDropout``, the bounds of the number of holes, their height and width.

    Raises:
        ValueError: If a step is of another type.
    """

    def __init__(self, transforms: Sequence[dict[str, Any]]) -> None:
        for step in transforms:
            if step["type"] not in _STEPS:
                raise ValueError(f"BlurAndDropout: no {step['type']!r}: expected one of {', '.join(_STEPS)}")
        self.transforms = transforms

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``results["img"]``, an image ``[H, W, 3]`` of uint8, with the probability of each step."""
        for step in self.transforms:
            if np.random.rand() < step["p"]:  # noqa: NPY002
                results["img"] = _STEPS[step["type"]](results["img"], step)
        return results


def _blurred(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    side = 3 + 2 * np.random.randint(3)  # noqa: NPY002
    return cv2.blur(image, (side, side)) if step["type"] == "Blur" else cv2.medianBlur(image, side)


def _with_holes(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(np.random.randint(step["min_holes"], step["max_holes"] + 1)):  # noqa: NPY002
        rows = int(height * np.random.uniform(step["min_height"], step["max_height"]))  # noqa: NPY002
        columns = int(width * np.random.uniform(step["min_width"], step["max_width"]))  # noqa: NPY002
        top = np.random.randint(height - rows + 1)  # noqa: NPY002
        left = np.random.randint(width - columns + 1)  # noqa: NPY002
        image[top : top + rows, left : left + columns] = 0
    return image


_STEPS = {"Blur": _blurred, "MedianBlur": _blurred, "CoarseDropout": _with_holes}


@TRANSFORMS.register_module()
class PackPoseTargets(PackPoseInputs):
    """mmpose's ``PackPoseInputs`` that also packs what losses need: keypoints in input pixels and the area.

    Args:
        with_annotation: Pack what only prediction needs too: the raw annotation and the flip test's order of
            keypoints. Training goes without, since they are copied several times on the way.
    """

    def __init__(self, with_annotation: bool = False) -> None:
        left_out = () if with_annotation else ("raw_ann_info", "flip_indices")
        meta_keys = [key for key in PackPoseInputs().meta_keys if key not in left_out]
        super().__init__(meta_keys=(*meta_keys, "area"), pack_transformed=True)
