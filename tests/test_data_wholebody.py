"""Generated COCO-WholeBody: the real files' format; feet, faces and hands lie where they are drawn."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rspose.datasets import DATASETS
from rspose.datasets.wholebody import WHOLEBODY
from rspose.drawn import figure_crops, make_dataset
from rspose.drawn.background import Backgrounds
from rspose.drawn.canvas import SUPERSAMPLING
from rspose.drawn.drawing import PART
from rspose.drawn.extremities import (
    EXTREMITY_NAMES,
    FACE,
    FEET,
    HANDS,
    hand_axes,
    hand_points,
    sample_gestures,
)
from rspose.drawn.scene import VISIBLE, Scene, draw_scene
from rspose.drawn.skeleton import (
    ANGLE_NAMES,
    JOINT,
    pose_skeletons,
    sample_angles,
    sample_proportions,
    sample_views,
)

SIZE = (400, 300)
PARTS = {"face": 68, "lefthand": 21, "righthand": 21}
# Keys of the real file, in its order.
ANNOTATION_KEYS = [
    "segmentation", "num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id",
    "face_box", "lefthand_box", "righthand_box", "lefthand_kpts", "righthand_kpts", "face_kpts",
    "face_valid", "lefthand_valid", "righthand_valid", "foot_valid", "foot_kpts",
]  # fmt: skip
SAMPLES = Path(__file__).parents[2] / "shared" / "samples" / "coco"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wholebody") / "data"
    make_dataset("wholebody", folder, 60, 3, 40, SIZE)
    return folder


def content_of(root: Path, split: str = "val") -> dict[str, Any]:
    return json.loads((root / DATASETS["wholebody"].annotations[split]).read_text())


@pytest.fixture(scope="module")
def people(root: Path) -> list[dict[str, Any]]:
    return content_of(root, "train")["annotations"] + content_of(root)["annotations"]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    backgrounds = Backgrounds((1, 2), SIZE)
    rngs = [np.random.default_rng([7, index]) for index in range(60)]
    return [draw_scene(rng, DATASETS["wholebody"].drawn, backgrounds, in_detail=True) for rng in rngs]


def triples(annotation: dict[str, Any], field: str) -> np.ndarray:
    return np.array(annotation[field]).reshape(-1, 3)


def test_annotations_have_the_fields_and_types_of_the_real_ones(people: list[dict[str, Any]]) -> None:
    for annotation in people:
        assert list(annotation) == ANNOTATION_KEYS
        for field, rows in WHOLEBODY.keypoints.fields.items():
            assert triples(annotation, field).shape == (rows.stop - rows.start, 3)
        assert annotation["num_keypoints"] == (triples(annotation, "keypoints")[:, 2] > 0).sum()
        for part in PARTS:
            assert isinstance(annotation[f"{part}_valid"], bool)
            assert len(annotation[f"{part}_box"]) == 4


def test_the_real_sample_has_the_same_fields(people: list[dict[str, Any]]) -> None:
    file = SAMPLES / DATASETS["wholebody"].annotations["val"]
    if not file.is_file():
        pytest.skip("the sample images are not part of the repository")
    for annotation in json.loads(file.read_text())["annotations"]:
        assert list(annotation) == list(people[0])
        assert {key: type(value) for key, value in annotation.items() if key.endswith("_valid")} == {
            key: bool for key in annotation if key.endswith("_valid")
        }


@pytest.mark.parametrize("part", PARTS)
def test_a_face_or_hand_is_annotated_whole_or_not_at_all(people: list[dict[str, Any]], part: str) -> None:
    valid = [annotation for annotation in people if annotation[f"{part}_valid"]]
    assert 0.2 < len(valid) / len(people) < 0.95
    for annotation in people:
        values, box = triples(annotation, f"{part}_kpts"), np.array(annotation[f"{part}_box"])
        if annotation[f"{part}_valid"]:
            assert set(values[:, 2]) <= ({1.0} if part == "face" else {1.0, 2.0})
            assert (values[:, :2] >= 0).all() and (values[:, :2] <= np.array(SIZE) - 0.5).all()
            assert (values[:, :2] > box[:2]).all() and (values[:, :2] < box[:2] + box[2:]).all()
            assert box[2:].max() >= 10
        else:
            assert not values.any() and not box.any()


def test_feet_are_annotated_point_by_point_where_they_are_seen(people: list[dict[str, Any]]) -> None:
    flags = np.array([triples(annotation, "foot_kpts")[:, 2] for annotation in people])
    assert set(flags.ravel()) == {0.0, 2.0}
    assert [annotation["foot_valid"] for annotation in people] == (flags > 0).any(axis=1).tolist()
    assert ((flags > 0).any(axis=1) & (flags == 0).any(axis=1)).any()


def test_people_without_body_keypoints_have_no_others(people: list[dict[str, Any]]) -> None:
    unlabelled = [annotation for annotation in people if annotation["num_keypoints"] == 0]
    assert unlabelled
    for annotation in unlabelled:
        assert not any(np.any(annotation[field]) for field in WHOLEBODY.keypoints.fields)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (slice(0, 3), ("left_foot",)),
        (slice(3, 6), ("right_foot",)),
        (FACE, ("face", "head_back")),
        (HANDS["left"], ("left_forearm",)),
        (HANDS["right"], ("right_forearm",)),
    ],
    ids=("left foot", "right foot", "face", "left hand", "right hand"),
)
def test_a_visible_point_lies_on_its_own_part(
    scenes: list[Scene], rows: slice, parts: tuple[str, ...]
) -> None:
    allowed = [PART[part] for part in parts]
    seen = 0
    for scene in scenes:
        for person in scene.people:
            own = np.isin(scene.labels, [16 * person.number + part for part in allowed])
            # A point may lie on the edge of its part.
            near = cv2.dilate(own.astype(np.uint8), np.ones((5, 5), np.uint8))
            visible = person.extremity_visibility[rows] == VISIBLE
            places = np.rint(SUPERSAMPLING * person.extremities[rows] + 0.5).astype(int)[visible]
            height, width = scene.labels.shape
            x, y = places.T.clip(0, np.array([[width - 1], [height - 1]]))
            assert near[y, x].all()
            seen += len(places)
    assert seen > 100


def test_the_points_that_body_and_face_share_lie_together(scenes: list[Scene]) -> None:
    """The nose is the tip of its bridge; an eye lies within its outline; a wrist is the root of a hand."""
    names = list(EXTREMITY_NAMES)
    for scene in scenes:
        for person in scene.people:
            unit = np.ptp(person.joints, axis=0).max()
            tip = person.extremities[names.index("nose_bridge_3")]
            assert np.linalg.norm(tip - person.joints[JOINT["nose"]]) < 0.02 * unit
            for side in ("left", "right"):
                root = person.extremities[names.index(f"{side}_hand_root")]
                np.testing.assert_allclose(root, person.joints[JOINT[f"{side}_wrist"]], atol=1e-6)
                outline = [i for i, name in enumerate(names) if name.startswith(f"{side}_eye_")]
                middle = person.extremities[outline].mean(axis=0)
                assert np.linalg.norm(middle - person.joints[JOINT[f"{side}_eye"]]) < 0.02 * unit


@pytest.mark.parametrize(("side", "number", "turn"), [("left", 0, -1.0), ("right", 1, 1.0)])
def test_a_hand_is_one_of_its_side(side: str, number: int, turn: float) -> None:
    """Seen onto the palm, root, forefinger and little finger turn clockwise on a left hand."""
    rng = np.random.default_rng(2)
    skeletons = pose_skeletons(sample_angles(rng, 200), sample_views(rng, 200), sample_proportions(rng, 200))
    gestures = sample_gestures(rng, 200)
    points = hand_points(skeletons, gestures)[:, number]
    root, fore, pinky = (points[:, i] for i in (0, 5, 17))
    normal = np.cross(fore - root, pinky - root)
    out_of_palm = hand_axes(skeletons, gestures)[:, number, 2]
    np.testing.assert_array_equal(np.sign((normal * out_of_palm).sum(axis=1)), turn)
    # The thumb is on the forefinger's side, and fingers bend towards the palm.
    assert (np.linalg.norm(points[:, 1] - fore, axis=1) < np.linalg.norm(points[:, 1] - pinky, axis=1)).all()
    assert (((points[:, 8] - fore) * out_of_palm).sum(axis=1) > -1e-9).all()


def test_a_relaxed_hand_beside_the_body_has_its_palm_to_the_body_and_its_thumb_in_front() -> None:
    angles = np.zeros((1, len(ANGLE_NAMES)))
    for name in ("left_elbow_flexion", "right_elbow_flexion"):
        angles[0, ANGLE_NAMES.index(name)] = 10
    rng = np.random.default_rng(0)
    skeletons = pose_skeletons(angles, np.zeros((1, 3)), sample_proportions(rng, 1))
    gestures = replace(sample_gestures(rng, 1), roll=np.zeros((1, 2)))
    left_palm, right_palm = hand_axes(skeletons, gestures)[0, :, 2]
    assert left_palm @ (-1, 0, 0) > 0.9 and right_palm @ (1, 0, 0) > 0.9
    for hand in hand_points(skeletons, gestures)[0]:
        assert hand[4, 2] > hand[20, 2]  # the thumb is nearer to the camera, which the person faces


def test_mmpose_reads_it_as_it_reads_the_real_one(root: Path) -> None:
    import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
    from mmpose.datasets.datasets import CocoWholeBodyDataset

    layout = DATASETS["wholebody"]
    with contextlib.redirect_stdout(io.StringIO()):
        train = CocoWholeBodyDataset(
            data_root=str(root),
            ann_file=layout.annotations["train"],
            data_prefix={"img": "train2017/"},
            pipeline=[],
        )
        val = CocoWholeBodyDataset(
            data_root=str(root),
            ann_file=layout.annotations["val"],
            bbox_file=str(root / str(layout.detections)),
            data_prefix={"img": "val2017/"},
            test_mode=True,
            pipeline=[],
        )
    labelled = {a["id"]: a for a in content_of(root, "train")["annotations"] if a["num_keypoints"]}
    assert len(train) == len(labelled)
    for index in range(len(train)):
        info = train.get_data_info(index)
        annotation = labelled[info["id"]]
        expected = np.concatenate([triples(annotation, field) for field in WHOLEBODY.keypoints.fields])
        np.testing.assert_allclose(info["keypoints"][0], expected[:, :2])
        np.testing.assert_array_equal(info["keypoints_visible"][0], expected[:, 2] > 0)
    assert len(val) == len(json.loads((root / str(layout.detections)).read_text()))
    assert len(DATASETS["wholebody"].keypoints) == 133


def test_the_official_evaluator_gives_full_marks_to_the_annotated_keypoints(root: Path) -> None:
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval

    sigmas = np.array(DATASETS["wholebody"].keypoints.sigmas)
    parts = {
        "body": "keypoints",
        **{name: f"{name}_kpts" for name in ("foot", "face", "lefthand", "righthand")},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / DATASETS["wholebody"].annotations["val"]))
        results = [
            {"image_id": a["image_id"], "category_id": 1, "score": 0.9}
            | {field: a[field] for field in WHOLEBODY.keypoints.fields}
            for a in truth.dataset["annotations"]
            if a["num_keypoints"]
        ]
        loaded = truth.loadRes(results)
        for part, rows in {
            "wholebody": slice(None),
            **{p: WHOLEBODY.keypoints.fields[f] for p, f in parts.items()},
        }.items():
            evaluation = COCOeval(truth, loaded, f"keypoints_{part}", sigmas[rows])
            with pytest.warns(UserWarning) if part != "body" else contextlib.nullcontext():
                evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert evaluation.stats[0] == pytest.approx(1.0), part
            assert evaluation.stats[5] == pytest.approx(1.0), part


def test_crops_of_wholebody_figures_are_not_those_of_coco() -> None:
    plain, _ = figure_crops(4, seed=5, size=(48, 64))
    detailed, parts = figure_crops(4, seed=5, size=(48, 64), dataset="wholebody")
    assert not np.array_equal(plain, detailed)
    assert {PART["left_forearm"], PART["face"]} <= set(np.unique(parts))


def test_a_large_face_shows_its_features(scenes: list[Scene]) -> None:
    """Eyes are lighter and darker than the cheeks beside them: a face is not a disc of skin."""
    contrasts = []
    for scene in scenes:
        for person in scene.people:
            flags = person.extremity_visibility
            if (flags[FACE] == VISIBLE).mean() < 0.9 or np.ptp(person.joints, axis=0).max() < 180:
                continue
            face = person.extremities[FACE]
            x0, y0 = np.floor(face[36:48].min(axis=0)).astype(int)
            x1, y1 = np.ceil(face[36:48].max(axis=0)).astype(int)
            eyes = scene.image[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1].astype(float)
            contrasts.append(np.ptp(eyes.mean(axis=2)))
    assert len(contrasts) >= 5
    assert np.median(contrasts) > 50


def test_feet_stand_on_the_ground_with_the_big_toes_inside(scenes: list[Scene]) -> None:
    """Of people who stand and face the camera, the big toes are nearer to each other than the small ones."""
    nearer = []
    for scene in scenes:
        for person in scene.people:
            left_big, left_small, left_heel, right_big, right_small, right_heel = person.extremities[FEET]
            if (
                left_big[0] - right_big[0] > 0.06 * np.ptp(person.joints, axis=0).max()
            ):  # faces the camera, feet apart
                nearer.append(left_small[0] - right_small[0] > left_big[0] - right_big[0])
                assert abs(left_heel - left_big).max() < 0.25 * np.ptp(person.joints, axis=0).max()
                assert abs(right_heel - right_big).max() < 0.25 * np.ptp(person.joints, axis=0).max()
    assert len(nearer) > 10
    assert np.mean(nearer) > 0.8
