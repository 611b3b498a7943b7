"""Scenes of one person as Leeds Sports Pose has them: pictures and a joints.mat, for LSP and for LSPET."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from rspose.datasets import SPLITS, Dataset
from rspose.drawn.annotations import annotated_people, joint_rows, mat_file
from rspose.drawn.background import Backgrounds
from rspose.drawn.scene import HIDDEN, NOT_IN_IMAGE, Person, draw_scene

_JPEG_QUALITY = 90
# Fewer labelled joints make no person of LSPET.
_LEAST_JOINTS = 7


def write_joints(
    known: Dataset, root: Path, counts: Mapping[str, int], seed: int, size: tuple[int, int]
) -> Iterator[None]:
    """Write both splits; yields after each picture.

    The first half of LSP trains and the second is ``val``, so there are as many training pictures in LSP as
    ``val`` has; the others are LSPET's. In LSP all joints are in the picture, in LSPET some need not be.
    """
    assert known.drawn is not None and known.extension is not None
    rows = joint_rows(known.keypoints.names)
    main, extended = Path(known.annotations["val"]), Path(known.extension)
    joints: dict[Path, list[np.ndarray]] = {main: [], extended: []}
    for file in joints:
        (root / file.parent / "images").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        number = (known.drawn.number, SPLITS.index(split))
        # Train and val share no places.
        backgrounds = Backgrounds((seed, *number, 0, 1), size)
        for index in range(counts[split]):
            # An image depends on no other image.
            rng = np.random.default_rng([seed, *number, index])
            of_main = split == "val" or index < counts["val"]
            file, least = (main, len(rows)) if of_main else (extended, _LEAST_JOINTS)
            while True:
                scene = draw_scene(rng, known.drawn, backgrounds)
                people = annotated_people(scene)
                if people and (people[0].visibility[rows] != NOT_IN_IMAGE).sum() >= least:
                    break
            joints[file].append(_triples(people[0], rows, of_main))
            name = f"im{len(joints[file]):0{4 if of_main else 5}d}.jpg"
            _, encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            (root / file.parent / "images" / name).write_bytes(encoded.tobytes())
            yield
    for file, axes in ((main, (2, 1, 0)), (extended, (1, 2, 0))):
        triples = np.reshape(joints[file], (-1, len(rows), 3))
        (root / file).write_bytes(mat_file({"joints": triples.transpose(axes)}))


def _triples(person: Person, rows: np.ndarray, of_main: bool) -> np.ndarray:
    """x, y and flag of each joint, ``[K, 3]``: LSP flags what is occluded, LSPET what is labelled."""
    visibility = person.visibility[rows]
    flags = visibility == HIDDEN if of_main else visibility != NOT_IN_IMAGE
    triples = np.column_stack([np.round(person.joints[rows], 4), flags])
    triples[visibility == NOT_IN_IMAGE] = 0
    return triples
