"""Crops of single people with the body part of every pixel, for training a backbone on part segmentation."""

import cv2
import numpy as np

from rspose.datasets import dataset as find_dataset
from rspose.drawn.annotations import annotated_people
from rspose.drawn.background import Backgrounds
from rspose.drawn.canvas import SUPERSAMPLING
from rspose.drawn.drawing import LABELS_PER_PERSON
from rspose.drawn.generate import DEMO_SIZE, single_threaded_opencv
from rspose.drawn.scene import Person, Scene, draw_scene, drawn_of

_PADDINGS = (1.05, 1.3)
_MIN_BOX_HEIGHT = 24


def figure_crops(
    count: int, seed: int, size: tuple[int, int] = (96, 128), dataset: str = "coco"
) -> tuple[np.ndarray, np.ndarray]:
    """Crops of people as a top-down pose estimator sees them.

    Args:
        count: How many.
        seed: The same seed gives the same crops. They are drawn apart from those of any dataset.
        size: Width and height of a crop, pixels.
        dataset: Whose figures: those of ``"wholebody"`` have faces, hands and feet in detail.

    Returns:
        Images, RGB uint8 ``[count, h, w, 3]``, and parts, uint8 ``[count, h, w]``: indices into `PART_NAMES`,
        0 for background, things and other people.
    """
    known = find_dataset(dataset)
    images = np.empty((count, *size[::-1], 3), np.uint8)
    parts = np.empty((count, *size[::-1]), np.uint8)
    filled = index = 0
    with single_threaded_opencv():
        # The last number keeps this stream apart from those of datasets, which have four.
        backgrounds = Backgrounds((seed, 9, 9, 9, 9), DEMO_SIZE)
        while filled < count:
            rng = np.random.default_rng([seed, index, 9, 9, 9])
            scene = draw_scene(rng, drawn_of(known), backgrounds, bool(known.keypoints.parts))
            index += 1
            for person in annotated_people(scene)[: count - filled]:
                if person.box[3] >= _MIN_BOX_HEIGHT:
                    images[filled], parts[filled] = _crop(scene, person, size, rng.uniform(*_PADDINGS))
                    filled += 1
    return images, parts


def _crop(
    scene: Scene, person: Person, size: tuple[int, int], padding: float
) -> tuple[np.ndarray, np.ndarray]:
    """The person's box, padded and brought to the crop's aspect ratio, as in mmpose's top-down transforms."""
    x, y, box_width, box_height = person.box
    pixel = padding * max(box_width / size[0], box_height / size[1])
    # Crop pixel u shows image pixel x0 + pixel * u.
    x0 = x + box_width / 2 - 0.5 - pixel * (size[0] - 1) / 2
    y0 = y + box_height / 2 - 0.5 - pixel * (size[1] - 1) / 2
    to_image = np.array([[pixel, 0, x0], [0, pixel, y0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(scene.image, to_image, size, flags=flags)
    to_labels = SUPERSAMPLING * to_image
    to_labels[:, 2] += (SUPERSAMPLING - 1) / 2
    labels = cv2.warpAffine(scene.labels, to_labels, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    own = np.where(labels // LABELS_PER_PERSON == person.number, labels % LABELS_PER_PERSON, 0)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), own.astype(np.uint8)
