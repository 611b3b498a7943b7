"""The skeleton that drawn people are posed with, and their hands."""

from dataclasses import replace

import numpy as np
import pytest

from rspose.drawn.extremities import hand_axes, hand_points, sample_gestures
from rspose.drawn.skeleton import (
    ANGLE_NAMES,
    JOINT,
    JOINT_LIMITS,
    Proportions,
    Skeletons,
    pose_skeletons,
    sample_angles,
    sample_skeletons,
    sample_views,
)


@pytest.fixture(scope="module")
def people() -> Skeletons:
    return sample_skeletons(np.random.default_rng(0), 400)


def joint(skeletons: Skeletons, name: str) -> np.ndarray:
    return skeletons.joints[:, JOINT[name]]


def standing(yaw: float, elbows: float = 0.0) -> Skeletons:
    angles, one = np.zeros((1, len(ANGLE_NAMES))), np.ones(1)
    angles[:, [ANGLE_NAMES.index(f"{side}_elbow_flexion") for side in ("left", "right")]] = elbows
    average = Proportions(one, 0.122 * one, 0.066 * one, one, one, one)
    return pose_skeletons(angles, np.array([[yaw, 0.0, 0.0]]), average)


def bend(parent: np.ndarray, child: np.ndarray) -> np.ndarray:
    """Angle between two segments, degrees."""
    cosine = (parent * child).sum(1) / np.linalg.norm(parent, axis=1) / np.linalg.norm(child, axis=1)
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def test_sampled_angles_stay_within_their_limits() -> None:
    angles = sample_angles(np.random.default_rng(1), 2000)
    assert (angles >= JOINT_LIMITS[:, 0]).all()
    assert (angles <= JOINT_LIMITS[:, 1]).all()
    assert (angles.std(axis=0) > 1).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_bend_backward_and_no_farther_than_a_knee_can(people: Skeletons, side: str) -> None:
    hip, knee, ankle = (joint(people, f"{side}_{name}") for name in ("hip", "knee", "ankle"))
    to_the_left = joint(people, "left_hip") - joint(people, "right_hip")
    front_of_thigh = np.cross(knee - hip, to_the_left)
    assert (((ankle - knee) * front_of_thigh).sum(1) <= 1e-9).all()
    assert bend(knee - hip, ankle - knee).max() <= 140 + 1e-6
    assert bend(knee - hip, ankle - knee).max() > 90


@pytest.mark.parametrize("side", ["left", "right"])
def test_elbows_bend_forward_and_no_farther_than_an_elbow_can(people: Skeletons, side: str) -> None:
    shoulder, elbow, wrist = (joint(people, f"{side}_{name}") for name in ("shoulder", "elbow", "wrist"))
    to_the_left = joint(people, "left_shoulder") - joint(people, "right_shoulder")
    front_of_arm = np.cross(elbow - shoulder, to_the_left)
    assert (((wrist - elbow) * front_of_arm).sum(1) >= -1e-9).all()
    assert bend(elbow - shoulder, wrist - elbow).max() <= 145 + 1e-6


def test_bones_are_equally_long_on_both_sides_in_every_pose(people: Skeletons) -> None:
    for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        lengths = [
            np.linalg.norm(joint(people, f"{side}_{end}") - joint(people, f"{side}_{start}"), axis=1)
            for side in ("left", "right")
        ]
        np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-9)


def test_an_average_person_standing_measures_about_one() -> None:
    height = np.ptp(standing(0).joints[0, :, 1])
    assert height == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(("yaw", "sign"), [(0.0, 1.0), (180.0, -1.0)])
def test_the_left_side_is_at_the_right_of_the_image_exactly_when_facing_the_camera(
    yaw: float, sign: float
) -> None:
    person = standing(yaw)
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear"):
        difference = joint(person, f"left_{name}") - joint(person, f"right_{name}")
        assert sign * difference[0, 0] > 0
    assert sign * (joint(person, "nose") - joint(person, "upper_neck"))[0, 2] > 0


def test_a_person_at_yaw_ninety_looks_to_the_right_of_the_image() -> None:
    person = standing(90.0)
    assert joint(person, "nose")[0, 0] > joint(person, "left_ear")[0, 0]
    # The right side is the near one.
    assert joint(person, "right_shoulder")[0, 2] > joint(person, "left_shoulder")[0, 2]


def test_people_are_seen_from_the_front_the_back_and_both_sides() -> None:
    yaw = sample_views(np.random.default_rng(2), 4000)[:, 0]
    front = (np.abs(yaw) < 60).mean()
    back = (np.abs(yaw) > 120).mean()
    assert 0.4 < front < 0.7
    assert 0.15 < back < 0.4
    assert ((yaw > 60) & (yaw < 120)).mean() > 0.05
    assert ((yaw < -60) & (yaw > -120)).mean() > 0.05


@pytest.mark.parametrize(("number", "turn"), [(0, -1.0), (1, 1.0)], ids=("left", "right"))
def test_a_hand_is_one_of_its_side(people: Skeletons, number: int, turn: float) -> None:
    """Seen onto the palm, root, forefinger and little finger turn clockwise on a left hand."""
    gestures = sample_gestures(np.random.default_rng(2), len(people.joints))
    points = hand_points(people, gestures)[:, number]
    root, thumb, fore, tip, pinky = (points[:, i] for i in (0, 1, 5, 8, 17))
    out_of_palm = hand_axes(people, gestures)[:, number, 2]
    normal = np.cross(fore - root, pinky - root)
    np.testing.assert_array_equal(np.sign((normal * out_of_palm).sum(axis=1)), turn)
    # The thumb is on the forefinger's side, and fingers bend towards the palm.
    assert (np.linalg.norm(thumb - fore, axis=1) < np.linalg.norm(thumb - pinky, axis=1)).all()
    assert (((tip - fore) * out_of_palm).sum(axis=1) > -1e-9).all()


def test_a_relaxed_hand_beside_the_body_has_its_palm_to_the_body_and_its_thumb_in_front() -> None:
    person = standing(0.0, elbows=10)
    gestures = replace(sample_gestures(np.random.default_rng(0), 1), roll=np.zeros((1, 2)))
    left_palm, right_palm = hand_axes(person, gestures)[0, :, 2]
    assert left_palm @ (-1, 0, 0) > 0.9 and right_palm @ (1, 0, 0) > 0.9
    for hand in hand_points(person, gestures)[0]:
        assert hand[4, 2] > hand[20, 2]  # the thumb is nearer to the camera, which the person faces
