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
from rspose.drawn.scene import (
    HIDDEN,
    NOT_IN_IMAGE,
    VISIBLE,
    Person,
    Scene,
    draw_scene,
)
from rspose.drawn.skeleton import ANGLE_NAMES, JOINT

SIZE = (320, 240)
ONE_IN_FULL = Drawn(0, 1, counts=(1.0,), shots=(0.0, 1.0, 0.0), instances=1.0, huddle=True)


@pytest.fixture(scope="module")
def backgrounds() -> Backgrounds:
    return Backgrounds((0, 0), SIZE)


@pytest.fixture(scope="module")
def scenes(backgrounds: Backgrounds) -> list[Scene]:
    names = list(DATASETS)
    return [
        draw_scene(np.random.default_rng([3, index]), DATASETS[names[index % 3]].drawn, backgrounds)
        for index in range(90)
    ]


def own_mask(scene: Scene, person: Person) -> np.ndarray:
    parts = scene.labels % LABELS_PER_PERSON
    return (scene.labels // LABELS_PER_PERSON == person.number) & (parts > 0)


def people(scenes: list[Scene]) -> Iterator[tuple[Scene, Person]]:
    return ((scene, person) for scene in scenes for person in scene.people)


def standing_person(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds, yaw: float, seed: int
) -> Person:
    """A person alone, standing upright with the arms a little apart, with nothing in front."""

    def angles(rng: np.random.Generator, count: int) -> np.ndarray:
        pose = np.zeros((count, len(ANGLE_NAMES)))
        pose[:, [ANGLE_NAMES.index(f"{side}_shoulder_abduction") for side in ("left", "right")]] = 25
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


def test_a_visible_joint_lies_on_its_own_person(scenes: list[Scene]) -> None:
    seen = 0
    for scene, person in people(scenes):
        mask = own_mask(scene, person)
        for x, y in person.joints[person.visibility == VISIBLE]:
            assert mask[round(SUPERSAMPLING * y + 0.5), round(SUPERSAMPLING * x + 0.5)]
            seen += 1
    assert seen > 1000


def test_a_limb_joint_is_visible_exactly_where_one_of_its_two_segments_is_drawn(scenes: list[Scene]) -> None:
    segments = {
        "elbow": ("upper_arm", "forearm"),
        "knee": ("thigh", "shin"),
        "ankle": ("shin", "foot"),
    }
    found = {HIDDEN: 0, VISIBLE: 0}
    for scene, person in people(scenes):
        for side in ("left", "right"):
            for name, parts in segments.items():
                index = JOINT[f"{side}_{name}"]
                flag = int(person.visibility[index])
                if flag == NOT_IN_IMAGE:
                    continue
                x, y = person.joints[index]
                row = min(max(round(SUPERSAMPLING * y + 0.5), 0), scene.labels.shape[0] - 1)
                column = min(max(round(SUPERSAMPLING * x + 0.5), 0), scene.labels.shape[1] - 1)
                expected = [LABELS_PER_PERSON * person.number + PART[f"{side}_{part}"] for part in parts]
                assert (flag == VISIBLE) == (scene.labels[row, column] in expected)
                found[flag] += 1
    assert min(found.values()) > 100


def test_joints_outside_the_image_and_only_those_have_flag_zero(scenes: list[Scene]) -> None:
    outside = 0
    for _, person in people(scenes):
        x, y = np.rint(person.joints).T
        inside = (x >= 0) & (x < SIZE[0]) & (y >= 0) & (y < SIZE[1])
        np.testing.assert_array_equal(person.visibility != NOT_IN_IMAGE, inside)
        outside += int((~inside).sum())
    assert outside > 100


def test_a_hidden_joint_is_annotated_only_between_two_visible_ones(scenes: list[Scene]) -> None:
    beside = {"elbow": ("shoulder", "wrist"), "knee": ("hip", "ankle"), "ankle": ("knee", "toe")}
    annotated = {True: 0, False: 0}
    for _, person in people(scenes):
        marked = annotated_visibility(person)
        changed = marked != person.visibility
        assert (person.visibility[changed] == HIDDEN).all() and (marked[changed] == NOT_IN_IMAGE).all()
        for side in ("left", "right"):
            for name, others in beside.items():
                index = JOINT[f"{side}_{name}"]
                if person.visibility[index] == HIDDEN:
                    inferable = all(person.visibility[JOINT[f"{side}_{o}"]] == VISIBLE for o in others)
                    assert (marked[index] == HIDDEN) == inferable
                    annotated[inferable] += 1
    assert min(annotated.values()) > 20


def test_nobody_marks_the_eyes_on_the_back_of_a_head(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds
) -> None:
    person = standing_person(monkeypatch, backgrounds, 180.0, 0)
    marked = annotated_visibility(person)
    assert [int(marked[JOINT[name]]) for name in ("nose", "left_eye", "right_eye")] == [NOT_IN_IMAGE] * 3


def test_box_and_area_are_those_of_the_visible_pixels(scenes: list[Scene]) -> None:
    for scene, person in people(scenes):
        mask = own_mask(scene, person)
        rows, columns = np.nonzero(mask)
        x, y, width, height = (SUPERSAMPLING * side for side in person.box)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert person.area == mask.sum() / SUPERSAMPLING**2


def test_the_outline_encloses_the_visible_pixels(scenes: list[Scene]) -> None:
    for scene in scenes[:40]:
        for person in scene.people:
            if person.area < 150:
                continue
            mask = own_mask(scene, person)
            drawn = np.zeros(mask.shape, np.uint8)
            polygons = [np.rint(SUPERSAMPLING * polygon - 0.5).astype(np.int32) for polygon in person.outline]
            cv2.fillPoly(drawn, polygons, 1)
            # The outline has no holes: a hand on the hip leaves one in the mask.
            overlap = (drawn.astype(bool) & mask).sum() / mask.sum()
            assert overlap > 0.93


def test_nearer_people_hide_farther_ones(scenes: list[Scene]) -> None:
    shares = [person.visible_share for scene in scenes for person in scene.people]
    assert max(shares) == 1.0
    assert np.mean(np.array(shares) < 0.8) > 0.1


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
    left, right = (person.joints[JOINT[f"{side}_shoulder"], 0] for side in ("left", "right"))
    assert sign * (left - right) > 0


@pytest.mark.parametrize(("yaw", "near", "far"), [(90.0, "right", "left"), (-90.0, "left", "right")])
def test_seen_from_the_side_the_far_side_of_the_trunk_and_head_is_hidden(
    monkeypatch: pytest.MonkeyPatch, backgrounds: Backgrounds, yaw: float, near: str, far: str
) -> None:
    person = standing_person(monkeypatch, backgrounds, yaw, 1)
    assert flags(person, f"{far}_shoulder", f"{far}_hip", f"{far}_eye", f"{far}_ear") == {HIDDEN}
    # The near hand hangs over the near hip.
    assert flags(person, f"{near}_shoulder", f"{near}_elbow", f"{near}_eye") == {VISIBLE}


def test_every_joint_is_visible_in_some_scene_and_hidden_in_another(scenes: list[Scene]) -> None:
    visibility = np.array([person.visibility for scene in scenes for person in scene.people])
    for index, name in enumerate(JOINT):
        assert {NOT_IN_IMAGE, HIDDEN, VISIBLE} == set(visibility[:, index].tolist()), name


def test_a_scene_depends_on_its_generator_alone(backgrounds: Backgrounds) -> None:
    first, second = (
        draw_scene(np.random.default_rng(8), DATASETS["coco"].drawn, pool)
        for pool in (backgrounds, Backgrounds((0, 0), SIZE))
    )
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_figure_crops_show_one_person_with_every_part_and_repeat_with_the_seed() -> None:
    images, parts = figure_crops(40, seed=5)
    assert images.shape == (40, 128, 96, 3) and images.dtype == np.uint8
    assert parts.shape == (40, 128, 96) and parts.dtype == np.uint8
    assert set(np.unique(parts)) == set(range(len(PART_NAMES)))
    # The padded box of a person, part of which is other people's or the background's.
    share = (parts > 0).mean(axis=(1, 2))
    assert (share > 0.005).all() and (share < 0.75).all() and 0.1 < share.mean() < 0.45
    again, _ = figure_crops(12, seed=5)
    np.testing.assert_array_equal(again, images[:12])
    other, _ = figure_crops(12, seed=6)
    assert not np.array_equal(other, images[:12])


def test_figure_crops_are_rgb_and_their_parts_lie_on_the_picture() -> None:
    images, parts = figure_crops(60, seed=2, size=(48, 64))
    assert images.shape[1:3] == (64, 48)
    # Skin is redder than it is blue, in every tone.
    face = images[parts == PART["face"]].astype(float)
    assert (face[:, 0] > face[:, 2]).mean() > 0.8


def test_mirroring_the_parts_twice_changes_nothing() -> None:
    flip = np.array(PART_FLIP)
    np.testing.assert_array_equal(flip[flip], np.arange(len(PART_NAMES)))
    assert PART_NAMES[PART_FLIP[PART_NAMES.index("left_shin")]] == "right_shin"
    assert PART_FLIP[PART["torso"]] == PART["torso"]
