"""Steps of mmpose's data pipeline that the benchmark needs in another form."""

import random
from ctypes import c_int64
from multiprocessing import Value
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import LoadImage, PackPoseInputs, RandomBBoxTransform
from mmpose.registry import TRANSFORMS
from scipy.special import ndtr, ndtri

_decoded: dict[str, np.ndarray] = {}


@TRANSFORMS.register_module()
class SeedSample(BaseTransform):
    """Seed the augmentation of a sample with a function of (seed, epoch, sample); the first step of training.

    So an augmented sample does not depend on what was drawn before it: not on the loss, nor on how many
    processes load the data, nor on where a training was resumed.

    Args:
        seed: Seed of the cell.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Shared with the loading processes, which keep their copy of the pipeline from one epoch to the next.
        self.epoch = Value(c_int64, 0, lock=False)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Seed Python and numpy, which is where mmpose's steps draw from."""
        sequence = np.random.SeedSequence([self.seed, self.epoch.value, results["sample_idx"]])
        value = int(sequence.generate_state(1)[0])
        random.seed(value)
        np.random.seed(value)  # noqa: NPY002
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
        if path not in _decoded:
            loaded = super().transform(results)
            if loaded is None:
                return None
            loaded["img"].setflags(write=False)
            _decoded[path] = loaded["img"]
            return loaded
        results["img"] = _decoded[path]
        results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
        return results


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
class PackPoseTargets(PackPoseInputs):
    """mmpose's ``PackPoseInputs`` that also packs what losses need: keypoints in input pixels and the area.

    Args:
        with_annotation: Pack the raw annotation too. It is copied several times on the way, so that training
            goes without.
    """

    def __init__(self, with_annotation: bool = False) -> None:
        meta_keys = [key for key in PackPoseInputs().meta_keys if with_annotation or key != "raw_ann_info"]
        super().__init__(meta_keys=(*meta_keys, "area"), pack_transformed=True)
