"""Scenes: what is annotated of people is what is drawn of them."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

import rspose.drawn.scene as scene_module
import rspose.drawn.skeleton as skeleton_module
from rspose.datasets import DATASETS
from rspose.datasets.interface import Drawn
from rspose.drawn import PART_FLIP, PART_NAMES, figure_crops
from rspose.drawn.annotations import annotated_visibility
from rspose.drawn.background import Backgrounds
from rspose.drawn.canvas import SUPERSAMPLING
from rspose.drawn.drawing import LABELS_PER_PERSON, PART
from rspose.drawn.extremities import EXTREMITY_NAMES, FACE, FEET, HANDS
from rspose.drawn.scene import HIDDEN, NOT_IN_IMAGE, VISIBLE, Person, Scene, draw_scene
from rspose.drawn.skeleton import ANGLE_NAMES, JOINT, both

SIZE = (320, 240)
ONE_IN_FULL = Drawn(0, 1, counts=(1.0,), shots=(0.0, 1.0, 0.0), instances=1.0, huddle=True)
SIDES = ("left", "right")

People = list[tuple[Scene, Person]]


@pytest.fixture(scope="module")
def backgrounds() -> Backgrounds:
    return Backgrounds((0, 0), SIZE)


@pytest.fixture(scope="module")
def people(backgrounds: Backgrounds) -> People:
    looks = [DATASETS[name].drawn for name in ("coco", "crowdpose", "mpii")]
    scenes = [draw_scene(np.random.default_rng([3, i]), looks[i % 3], backgrounds) for i in range(90)]
    return [(scene, person) for scene in scenes for person in scene.people]


@pytest.fixture(scope="module")
def detailed() -> People:
    """People with faces, hands and feet in detail."""
    backgrounds, look = Backgrounds((1, 2), (400, 300)), DATASETS["wholebody"].drawn
    rngs = (np.random.default_rng([7, index]) for index in range(60))
    scenes = [draw_scene(rng, look, backgrounds, in_detail=True) for rng in rngs]
    return [(scene, person) for scene in scenes for person in scene.people]


def own_mask(scene: Scene, person: Person) -> np.ndarray:
    parts = scene.labels % LABELS_PER_PERSON
    return (scene.labels // LABELS_PER_PERSON == person.number) & (parts > 0)


def pixels(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the labels at points of the image."""
    height, width = scene.labels.shape
    x, y = np.rint(SUPERSAMPLING * points + 0.5).astype(int).T
    return y.clip(0, height - 1), x.clip(0, width - 1)


def standing_person(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds, yaw: float, seed: int
) -> Person:
    """A person alone, standing upright with the arms a little apart, with nothing in front."""

    def angles(rng: np.random.Generator, count: int) -> np.ndarray:
        pose = np.zeros((count, len(ANGLE_NAMES)))
        pose[:, [ANGLE_NAMES.index(f"{side}_shoulder_abduction") for side in SIDES]] = 25
        return pose

    monkeypatch.setattr(skeleton_module, "sample_angles", angles)
    monkeypatch.setattr(
        skeleton_module, "sample_views", lambda rng, count: np.array([[yaw, 0.0, 0.0]] * count)
    )
    monkeypatch.setattr(scene_module, "paint_object", lambda *arguments: None)
    (person,) = draw_scene(np.random.default_rng(seed), ONE_IN_FULL, backgrounds).people
    return person


def flags(person: Person, *names: str) -> set[int]:
    """Flags of the joints that are in the image."""
    return {int(person.visibility[JOINT[name]]) for name in names} - {NOT_IN_IMAGE}


def test_a_visible_joint_lies_on_its_own_person(people: People) -> None:
    seen = 0
    for scene, person in people:
        found = own_mask(scene, person)[pixels(scene, person.joints[person.visibility == VISIBLE])]
        assert found.all()
        seen += len(found)
    assert seen > 1000


def limb_joints(
    people: People, around: dict[str, tuple[str, str]]
) -> Iterator[tuple[Scene, Person, int, list[str]]]:
    """Each joint of a limb on either side, and the names of what is around it."""
    for scene, person in people:
        for side in SIDES:
            for name, others in around.items():
                yield scene, person, JOINT[f"{side}_{name}"], [f"{side}_{other}" for other in others]


def test_a_limb_joint_is_visible_exactly_where_one_of_its_two_segments_is_drawn(people: People) -> None:
    segments = {"elbow": ("upper_arm", "forearm"), "knee": ("thigh", "shin"), "ankle": ("shin", "foot")}
    found = {NOT_IN_IMAGE: 0, HIDDEN: 0, VISIBLE: 0}
    for scene, person, index, parts in limb_joints(people, segments):
        flag = int(person.visibility[index])
        found[flag] += 1
        if flag != NOT_IN_IMAGE:
            expected = [LABELS_PER_PERSON * person.number + PART[part] for part in parts]
            assert (flag == VISIBLE) == (scene.labels[pixels(scene, person.joints[index])] in expected)
    assert min(found[HIDDEN], found[VISIBLE]) > 100


def test_joints_outside_the_image_and_only_those_have_flag_zero(people: People) -> None:
    outside = 0
    for _, person in people:
        inside = ((np.rint(person.joints) >= 0) & (np.rint(person.joints) < SIZE)).all(axis=1)
        np.testing.assert_array_equal(person.visibility != NOT_IN_IMAGE, inside)
        outside += int((~inside).sum())
    assert outside > 100


def test_a_hidden_joint_is_annotated_only_between_two_visible_ones(people: People) -> None:
    beside = {"elbow": ("shoulder", "wrist"), "knee": ("hip", "ankle"), "ankle": ("knee", "toe")}
    annotated = {True: 0, False: 0}
    for _, person, index, others in limb_joints(people, beside):
        marked = annotated_visibility(person)
        changed = marked != person.visibility
        assert (person.visibility[changed] == HIDDEN).all() and (marked[changed] == NOT_IN_IMAGE).all()
        if person.visibility[index] == HIDDEN:
            inferable = all(person.visibility[JOINT[other]] == VISIBLE for other in others)
            assert (marked[index] == HIDDEN) == inferable
            annotated[inferable] += 1
    assert min(annotated.values()) > 20


def test_nobody_marks_the_eyes_on_the_back_of_a_head(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds
) -> None:
    marked = annotated_visibility(standing_person(monkeypatch, backgrounds, 180.0, 0))
    assert marked[[JOINT["nose"], *both("eye")]].tolist() == [NOT_IN_IMAGE] * 3


def test_box_and_area_are_those_of_the_visible_pixels(people: People) -> None:
    for scene, person in people:
        mask = own_mask(scene, person)
        rows, columns = np.nonzero(mask)
        x, y, width, height = (SUPERSAMPLING * side for side in person.box)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert person.area == mask.sum() / SUPERSAMPLING**2


def test_the_outline_encloses_the_visible_pixels(people: People) -> None:
    for scene, person in people[:80]:
        if person.area < 150:
            continue
        mask = own_mask(scene, person)
        drawn = np.zeros(mask.shape, np.uint8)
        polygons = [np.rint(SUPERSAMPLING * polygon - 0.5).astype(np.int32) for polygon in person.outline]
        cv2.fillPoly(drawn, polygons, 1)
        # The outline has no holes: a hand on the hip leaves one in the mask.
        assert (drawn.astype(bool) & mask).sum() / mask.sum() > 0.93


def test_nearer_people_hide_farther_ones(people: People) -> None:
    shares = np.array([person.visible_share for _, person in people])
    assert shares.max() == 1.0
    assert np.mean(shares < 0.8) > 0.1


FROM_FRONT = ("left_shoulder", "right_shoulder", "left_elbow", "right_hip", "left_hip")
FROM_BACK = ("left_elbow", "right_elbow", "left_hip", "right_hip")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("yaw", "seen", "face", "sign"), [(0.0, FROM_FRONT, VISIBLE, 1), (180.0, FROM_BACK, HIDDEN, -1)]
)
def test_seen_from_the_front_the_face_is_visible_and_left_is_at_the_right_and_from_the_back_not(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds,
    yaw: float, seen: tuple[str, ...], face: int, sign: int, seed: int,
) -> None:  # fmt: skip
    person = standing_person(monkeypatch, backgrounds, yaw, seed)
    assert flags(person, *seen) == {VISIBLE}
    assert flags(person, "nose", "left_eye", "right_eye") <= {face}
    left, right = person.joints[both("shoulder"), 0]
    assert sign * (left - right) > 0


@pytest.mark.parametrize(("yaw", "near", "far"), [(90.0, "right", "left"), (-90.0, "left", "right")])
def test_seen_from_the_side_the_far_side_of_the_trunk_and_head_is_hidden(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds, yaw: float, near: str, far: str
) -> None:
    person = standing_person(monkeypatch, backgrounds, yaw, 1)
    assert flags(person, f"{far}_shoulder", f"{far}_hip", f"{far}_eye", f"{far}_ear") == {HIDDEN}
    # The near hand hangs over the near hip.
    assert flags(person, f"{near}_shoulder", f"{near}_elbow", f"{near}_eye") == {VISIBLE}


def test_every_joint_is_visible_in_some_scene_and_hidden_in_another(people: People) -> None:
    visibility = np.array([person.visibility for _, person in people])
    for index, name in enumerate(JOINT):
        assert {NOT_IN_IMAGE, HIDDEN, VISIBLE} == set(visibility[:, index].tolist()), name


def test_a_scene_depends_on_its_generator_alone(backgrounds: Backgrounds) -> None:
    pools = (backgrounds, Backgrounds((0, 0), SIZE))
    first, second = (draw_scene(np.random.default_rng(8), DATASETS["coco"].drawn, pool) for pool in pools)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)


# ---------------------------------------------------------------- faces, hands and feet


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
def test_a_visible_point_lies_on_its_own_part(detailed: People, rows: slice, parts: tuple[str, ...]) -> None:
    seen = 0
    for scene, person in detailed:
        own = np.isin(scene.labels, [LABELS_PER_PERSON * person.number + PART[part] for part in parts])
        # A point may lie on the edge of its part.
        near = cv2.dilate(own.astype(np.uint8), np.ones((5, 5), np.uint8))
        visible = person.extremity_visibility[rows] == VISIBLE
        assert near[pixels(scene, person.extremities[rows][visible])].all()
        seen += int(visible.sum())
    assert seen > 100


def test_the_points_that_body_and_face_share_lie_together(detailed: People) -> None:
    """The nose is the tip of its bridge; an eye lies within its outline; a wrist is the root of a hand."""
    for _, person in detailed:
        points = dict(zip(EXTREMITY_NAMES, person.extremities, strict=True))
        near = 0.02 * np.ptp(person.joints, axis=0).max()
        assert np.linalg.norm(points["nose_bridge_3"] - person.joints[JOINT["nose"]]) < near
        for side in SIDES:
            wrist, eye = (person.joints[JOINT[f"{side}_{name}"]] for name in ("wrist", "eye"))
            np.testing.assert_allclose(points[f"{side}_hand_root"], wrist, atol=1e-6)
            outline = [point for name, point in points.items() if name.startswith(f"{side}_eye_")]
            assert np.linalg.norm(np.mean(outline, axis=0) - eye) < near


def test_a_large_face_shows_its_features(detailed: People) -> None:
    """Eyes are lighter and darker than the cheeks beside them: a face is not a disc of skin."""
    contrasts = []
    for scene, person in detailed:
        seen = (person.extremity_visibility[FACE] == VISIBLE).mean() >= 0.9
        if seen and np.ptp(person.joints, axis=0).max() >= 180:
            eyes = person.extremities[FACE][36:48]
            x0, y0 = np.floor(eyes.min(axis=0)).astype(int).clip(0)
            x1, y1 = np.ceil(eyes.max(axis=0)).astype(int)
            contrasts.append(np.ptp(scene.image[y0 : y1 + 1, x0 : x1 + 1].astype(float).mean(axis=2)))
    assert len(contrasts) >= 5
    assert np.median(contrasts) > 50


def test_feet_stand_on_the_ground_with_the_big_toes_inside(detailed: People) -> None:
    """Of people who stand and face the camera, the big toes are nearer to each other than the small ones."""
    nearer = []
    for _, person in detailed:
        (left_big, left_small, left_heel), (right_big, right_small, right_heel) = np.split(
            person.extremities[FEET], 2
        )
        extent = np.ptp(person.joints, axis=0).max()
        if left_big[0] - right_big[0] > 0.06 * extent:  # faces the camera, feet apart
            nearer.append(left_small[0] - right_small[0] > left_big[0] - right_big[0])
            assert abs(left_heel - left_big).max() < 0.25 * extent
            assert abs(right_heel - right_big).max() < 0.25 * extent
    assert len(nearer) > 10
    assert np.mean(nearer) > 0.8


# ---------------------------------------------------------------- crops


def test_figure_crops_show_one_person_with_every_part_and_repeat_with_the_seed() -> None:
    images, parts = figure_crops(40, seed=5)
    assert images.shape == (40, 128, 96, 3) and images.dtype == np.uint8
    assert parts.shape == (40, 128, 96) and parts.dtype == np.uint8
    assert set(np.unique(parts)) == set(range(len(PART_NAMES)))
    # The padded box of a person, part of which is other people's or the background's.
    share = (parts > 0).mean(axis=(1, 2))
    assert (share > 0.005).all() and (share < 0.75).all() and 0.1 < share.mean() < 0.45
    np.testing.assert_array_equal(figure_crops(12, seed=5)[0], images[:12])
    assert not np.array_equal(figure_crops(12, seed=6)[0], images[:12])


def test_figure_crops_are_rgb_and_their_parts_lie_on_the_picture() -> None:
    images, parts = figure_crops(60, seed=2, size=(48, 64))
    assert images.shape[1:3] == (64, 48)
    # Skin is redder than it is blue, in every tone.
    face = images[parts == PART["face"]].astype(float)
    assert (face[:, 0] > face[:, 2]).mean() > 0.8


def test_crops_of_wholebody_figures_are_not_those_of_coco() -> None:
    plain, _ = figure_crops(4, seed=5, size=(48, 64))
    detailed, parts = figure_crops(4, seed=5, size=(48, 64), dataset="wholebody")
    assert not np.array_equal(plain, detailed)
    assert {PART["left_forearm"], PART["face"]} <= set(np.unique(parts))


def test_mirroring_the_parts_twice_changes_nothing() -> None:
    flip = np.array(PART_FLIP)
    np.testing.assert_array_equal(flip[flip], np.arange(len(PART_NAMES)))
    assert PART_NAMES[PART_FLIP[PART_NAMES.index("left_shin")]] == "right_shin"
    assert PART_FLIP[PART["torso"]] == PART["torso"]
