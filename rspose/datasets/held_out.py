"""Training images that are held out of a training, to score it on."""

import numpy as np

from rspose.datasets.annotations import Annotations, rows_in


def held_out_persons(annotations: Annotations, share: float, seed: int) -> np.ndarray:
    """Which persons are in a random ``share`` of the images, bool ``[N]``; the same ones for a seed."""
    rows = rows_in(annotations.known_images, annotations.image_id)
    # By name: MPII counts persons, several of which may be in an image.
    images, image = np.unique(np.array(annotations.image_names)[rows], return_inverse=True)
    chosen = np.random.default_rng(seed).permutation(len(images))[: max(1, round(share * len(images)))]
    return np.isin(image, chosen)
