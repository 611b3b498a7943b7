"""Scenes as annotations of COCO, CrowdPose, MPII and COCO-WholeBody: their fields, units and conventions."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.io import savemat

from rspose.datasets import Dataset
from rspose.drawn.extremities import FACE, FEET, HANDS
from rspose.drawn.scene import HIDDEN, NOT_IN_IMAGE, VISIBLE, Person, Scene
from rspose.drawn.skeleton import JOINT, joint_table

Record = dict[str, Any]

# CrowdPose calls the top of the head "head" and the base of the neck "neck".
_JOINT_OF_KEYPOINT = {"head": "head_top", "neck": "thorax"}

# Of the people in a picture, those of whom this little is seen are not annotated, as in the real datasets.
_MIN_VISIBLE_SHARE = 0.2
_MIN_AREA = 24.0
# Smaller people have a box and a mask in COCO, but no keypoints.
_MIN_HEIGHT_FOR_KEYPOINTS = 56.0
# Nor have people of whom next to nothing can be told.
_MIN_KEYPOINTS = 6
_MPII_MIN_KEYPOINTS = 8
_MPII_MIN_HEIGHT = 40.0

# A hidden joint is annotated where two of these are seen beside it: annotators mark what they can infer, and
# leave out the eyes on the back of a head or a leg of which nothing shows.
_INFERRED_FROM = joint_table(
    {
        "nose": "left_eye right_eye", "left_eye": "nose right_eye", "left_ear": "left_eye",
        "head_top": "nose left_ear right_ear upper_neck",
        "upper_neck": "head_top thorax left_shoulder right_shoulder",
        "thorax": "upper_neck left_shoulder right_shoulder", "pelvis": "left_hip right_hip thorax",
        "left_shoulder": "right_shoulder left_elbow left_hip", "left_elbow": "left_shoulder left_wrist",
        "left_wrist": "left_elbow left_hand", "left_hip": "right_hip left_knee left_shoulder",
        "left_knee": "left_hip left_ankle", "left_ankle": "left_knee left_toe",
    },
    JOINT,
)  # fmt: skip


def annotated_visibility(person: Person) -> np.ndarray:
    """Flags of all joints as COCO and CrowdPose annotate them, ``[J]``.

    2 visible, 1 hidden but beside visible joints, 0 not annotated: outside the image, or hidden with its
    neighbours.
    """
    seen_beside = (_INFERRED_FROM & (person.visibility == VISIBLE)).sum(axis=1)
    inferable = seen_beside >= np.minimum(2, _INFERRED_FROM.sum(axis=1))
    return np.where((person.visibility == HIDDEN) & ~inferable, NOT_IN_IMAGE, person.visibility)


def joint_rows(names: Sequence[str]) -> np.ndarray:
    """For each of K keypoints the index of its joint in the skeleton, ``[K]``."""
    joints = [_JOINT_OF_KEYPOINT.get(name, name) for name in names]
    if unknown := sorted(set(joints) - JOINT.keys()):
        raise ValueError(f"keypoint {unknown[0]!r}: expected a joint of the figures: {', '.join(JOINT)}")
    return np.array([JOINT[joint] for joint in joints])


def annotated_people(scene: Scene) -> list[Person]:
    """The people of a scene that an annotator would mark: enough of them is visible."""
    return [
        person
        for person in scene.people
        if person.visible_share >= _MIN_VISIBLE_SHARE and person.area >= _MIN_AREA and person.outline
    ]


def coco_entries(
    people: list[Person], known: Dataset, image_id: int, file_name: str, size: tuple[int, int]
) -> tuple[Record, list[Record]]:
    """Entries of ``images`` and ``annotations`` in a file of COCO's format: one, and one a person.

    CrowdPose's have neither area nor outline, and leave out persons without keypoints. COCO-WholeBody's have
    feet, faces and hands as well; their ``num_keypoints`` counts the body alone. Ids are
    ``image id * 100 + person``, so that they do not depend on the images before.
    """
    rows = joint_rows(known.keypoints.names[: known.keypoints.body])
    annotations = []
    for index, person in enumerate(people):
        visibility = annotated_visibility(person)[rows]
        labelled = int((visibility != NOT_IN_IMAGE).sum())
        if known.crowded and not labelled:
            continue
        if not known.crowded and (person.box[3] < _MIN_HEIGHT_FOR_KEYPOINTS or labelled < _MIN_KEYPOINTS):
            visibility, labelled = np.zeros_like(visibility), 0
        triples = np.column_stack([np.rint(person.joints[rows]), visibility]).astype(np.int64)
        triples[visibility == NOT_IN_IMAGE] = 0
        annotation: Record = {
            "segmentation": [polygon.reshape(-1).tolist() for polygon in person.outline],
            "num_keypoints": labelled,
            "area": person.area,
            "iscrowd": 0,
            "keypoints": triples.reshape(-1).tolist(),
            "image_id": image_id,
            "bbox": list(person.box),
            "category_id": 1,
            "id": 100 * image_id + index,
        }
        if known.crowded:
            del annotation["segmentation"], annotation["area"]
        if known.keypoints.parts:
            annotation |= _extremity_fields(person, labelled=labelled > 0)
        annotations.append(annotation)
    width, height = size
    if known.crowded:
        about: Record = {"file_name": file_name, "id": image_id, "height": height, "width": width}
        return {**about, "crowdIndex": crowd_index(annotations)}, annotations
    about = {"license": 1, "file_name": file_name, "coco_url": "", "height": height, "width": width}
    return {**about, "date_captured": "", "flickr_url": "", "id": image_id}, annotations


# A face or hand is annotated whole or not at all: where enough of it is seen, it is wholly inside the image,
# and it is large enough to tell its points apart (pixels of the longer side of its box).
_MIN_SEEN_OF_PART = 0.6
_WHOLE_PARTS = {"face": (FACE, 14.0), "lefthand": (HANDS["left"], 10.0), "righthand": (HANDS["right"], 10.0)}
_PART_BOX_MARGIN = 0.06


def _extremity_fields(person: Person, labelled: bool) -> Record:
    """Boxes, points and validity of feet, face and hands; all zero where the body is not ``labelled``.

    As in the real file a face's points are flagged 1, a hand's 2 where seen and 1 elsewhere, a foot's 2 where
    seen and 0 elsewhere.
    """
    points, visibility = person.extremities, person.extremity_visibility
    boxes, triples, valid = Record(), Record(), Record()
    for part, (rows, least) in _WHOLE_PARTS.items():
        places, flags = points[rows], visibility[rows]
        low, high = places.min(axis=0), places.max(axis=0)
        whole = (flags != NOT_IN_IMAGE).all() and (high - low).max() >= least
        annotated = bool(labelled and whole and (flags == VISIBLE).mean() >= _MIN_SEEN_OF_PART)
        margin = _PART_BOX_MARGIN * (high - low)
        box = np.concatenate([low - margin, high - low + 2 * margin])
        values = np.column_stack([places, np.ones(len(flags)) if part == "face" else flags])
        boxes[f"{part}_box"] = np.where(annotated, np.round(box, 2), 0.0).tolist()
        triples[f"{part}_kpts"] = np.where(annotated, np.round(values, 3), 0.0).reshape(-1).tolist()
        valid[f"{part}_valid"] = annotated
    face = {"face_kpts": triples.pop("face_kpts")}
    seen = (visibility[FEET] == VISIBLE) & labelled
    feet = np.where(seen[:, None], np.column_stack([np.rint(points[FEET]), np.full(6, 2.0)]), 0.0)
    about_feet = {"foot_valid": bool(seen.any()), "foot_kpts": feet.reshape(-1).tolist()}
    return {**boxes, **triples, **face, **valid, **about_feet}


def crowd_index(annotations: list[Record]) -> float:
    """The Crowd Index of an image (Li et al., CrowdPose, CVPR 2019, eq. 1).

    The mean over its people of the number of other people's joints inside the person's box, divided by the
    number of the person's own; at most 1. As in the official files people without joints do not count, and it
    is rounded to two decimals.
    """
    annotations = [annotation for annotation in annotations if annotation["num_keypoints"]]
    if not annotations:
        return 0.0
    triples = np.array([annotation["keypoints"] for annotation in annotations], dtype=np.float64)
    triples = triples.reshape(len(annotations), -1, 3)
    labelled = triples[..., 2] > 0
    boxes = np.array([annotation["bbox"] for annotation in annotations])[:, None, None]
    low, high = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    # Of box, person, joint.
    within = ((triples[..., :2] >= low) & (triples[..., :2] <= high)).all(-1) & labelled
    others = within.sum((1, 2)) - np.diagonal(within.sum(2))
    return round(min(1.0, float(np.mean(others / labelled.sum(1)))), 2)


def mpii_entries(
    people: list[Person], known: Dataset, file_name: str, size: tuple[int, int]
) -> tuple[list[Record], list[np.ndarray]]:
    """Entries of an MPII file, one a person, and their head boxes ``[2, 2]`` (corner, x or y).

    Coordinates are 1-based, as in MATLAB. ``joints_vis`` is 1 for every joint in the image, hidden or not;
    the coordinates of the others are -1. ``scale`` is the height of the figure over 200 pixels. mmpose lowers
    the centre by 15 pixels of scale, so it stands that much above the middle of the figure.
    """
    rows = joint_rows(known.keypoints.names)
    records, headboxes = [], []
    for person in people:
        visible = person.visibility[rows] != NOT_IN_IMAGE
        low, high = person.joints.min(axis=0), person.joints.max(axis=0)
        extent = float((high - low).max())
        head = person.visibility[[JOINT["head_top"], JOINT["upper_neck"]]]
        if (head == NOT_IN_IMAGE).any() or visible.sum() < _MPII_MIN_KEYPOINTS or extent < _MPII_MIN_HEIGHT:
            continue
        scale = extent / 200.0
        centre = np.clip((low + high) / 2 - (0, 15 * scale), 0, np.array(size) - 1) + 1
        joints = np.where(visible[:, None], np.round(person.joints[rows] + 1, 4), -1.0)
        records.append(
            {
                "joints_vis": visible.astype(int).tolist(),
                "joints": joints.tolist(),
                "image": file_name,
                "scale": round(scale, 6),
                "center": np.round(centre, 1).tolist(),
            }
        )
        headboxes.append(np.round(person.head_box + 1, 4))
    return records, headboxes


def mpii_headbox_file(records: list[Record], headboxes: list[np.ndarray]) -> bytes:
    """Content of ``mpii_gt_val.mat``: what PCKh needs, for the N entries of ``mpii_val.json`` in order."""
    names = np.empty((1, 16), dtype=object)
    names[0] = [
        "rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor",
        "neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri",
    ]  # fmt: skip
    count = len(records)
    joints = np.reshape([record["joints"] for record in records], (count, 16, 2))
    visible = np.reshape([record["joints_vis"] for record in records], (count, 16))
    tables = {
        "headboxes_src": np.reshape(headboxes, (count, 2, 2)).transpose(1, 2, 0),  # corner, x or y, person
        "pos_gt_src": joints.transpose(1, 2, 0),  # joint, x or y, person
        "jnt_missing": 1.0 - visible.T,  # joint, person
        "dataset_joints": names,
    }
    return mat_file(tables)


def mat_file(tables: dict[str, Any]) -> bytes:
    """Content of a MATLAB file of these variables; the same variables give the same bytes."""
    stream = io.BytesIO()
    savemat(stream, tables, do_compression=True)
    content = bytearray(stream.getvalue())
    # The first 116 bytes are a free text that scipy dates.
    content[:116] = b"MATLAB 5.0 MAT-file, generated".ljust(116)
    return bytes(content)


def coco_file(known: Dataset, images: list[Record], annotations: list[Record]) -> Record:
    """A whole annotation file of COCO's format. The category of COCO-WholeBody is that of COCO."""
    body = known.keypoints.body
    links = [pair for pair in known.keypoints.skeleton if max(pair) < body]
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(known.keypoints.names[:body]),
        "skeleton": [[first + 1, second + 1] for first, second in links],
    }
    content: Record = {"categories": [category], "images": images, "annotations": annotations}
    if known.crowded:
        return content
    kind = known.title if known.keypoints.parts else f"{known.title} keypoints"
    about = {"description": f"Generated figures in the format of {kind}", "year": 2017, "date_created": ""}
    return {"info": about, "licenses": [{"url": "", "id": 1, "name": "Generated"}], **content}
