"""Scenes of one person as Leeds Sports Pose has them: pictures and a joints.mat, for LSP and for LSPET."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rspose.datasets import SPLITS, Dataset
from rspose.drawn.annotations import annotated_people, joint_rows, mat_file
from rspose.drawn.scene import HIDDEN, NOT_IN_IMAGE, Person, drawings, write_picture

# Fewer labelled joints make no person of LSPET.
_LEAST_JOINTS = 7


def write_joints(
    known: Dataset, root: Path, counts: Mapping[str, int], seed: int, size: tuple[int, int]
) -> Iterator[None]:
    """Write both splits; yields after each picture.

    The first half of LSP trains and the second is ``val``, so there are as many training pictures in LSP as
    ``val`` has; the others are LSPET's. In LSP all joints are in the picture, in LSPET some need not be.
    """
    assert known.extension is not None
    rows = joint_rows(known.keypoints.names)
    main, extended = Path(known.annotations["val"]), Path(known.extension)
    joints: dict[Path, list[np.ndarray]] = {main: [], extended: []}
    for file in joints:
        (root / file.parent / "images").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        for index, (_, draw) in enumerate(drawings(known, split, counts[split], seed, size)):
            of_main = split == "val" or index < counts["val"]
            file, least = (main, len(rows)) if of_main else (extended, _LEAST_JOINTS)
            while True:
                scene = draw()
                people = annotated_people(scene)
                if people and (people[0].visibility[rows] != NOT_IN_IMAGE).sum() >= least:
                    break
            joints[file].append(_triples(people[0], rows, of_main))
            name = f"im{len(joints[file]):0{4 if of_main else 5}d}.jpg"
            write_picture(root / file.parent / "images" / name, scene)
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
