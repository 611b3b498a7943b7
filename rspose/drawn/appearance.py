"""What people wear and look like: skin, hair, clothes and shoes, drawn at random."""

import colorsys
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

# BGR.
_SKIN_TONES = np.array(
    [
        (190, 208, 236), (172, 200, 236), (140, 176, 222), (110, 150, 205), (84, 118, 172), (58, 84, 132),
        (44, 62, 98),
    ]
)  # fmt: skip
_HAIR_TONES = np.array(
    [(28, 24, 22), (38, 44, 62), (48, 70, 108), (90, 148, 196), (60, 92, 150), (150, 150, 152), (40, 60, 140)]
)


Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Appearance:
    """Looks of one person. Colours are BGR, 0..255, as float arrays ``[3]``."""

    skin: np.ndarray
    hair_colour: np.ndarray
    shirt: np.ndarray
    accent: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    sleeve: tuple[float, float]  # how much it covers of the upper arm and the forearm, each 0..1
    trouser: tuple[float, float]  # of the thigh and the shin, likewise
    skirt: float  # its length as a fraction of the thigh, 0 for none
    tucked: bool  # whether the trousers reach the waist, over the shirt
    hair: str  # none, short or long
    headwear: str  # none, cap or glasses
    front: str  # what the chest shows, a sign of facing: plain, buttons, jacket or print
    back: str  # plain, yoke or backpack
    stripes: bool  # all around the shirt
    badge: bool  # on the left side of the chest
    watch: bool  # on the left wrist

    @property
    def cover(self) -> list[float]:
        """How much of each limb is under cloth or shoe, 0..1, in the order of the limbs."""
        upper, fore = self.sleeve
        thigh, shin = (0.0, 0.0) if self.skirt else self.trouser
        return [upper, upper, fore, fore, 0.0, 0.0, thigh, thigh, shin, shin, 1.0, 1.0, 0.0]


def _pick(shares: dict[Choice, float], draw: float) -> Choice:
    """The choice whose share of [0, 1) holds ``draw``; shares sum to 1."""
    for choice, share in shares.items():
        if draw < share:
            return choice
        draw -= share
    return choice


def _cloth(hue: float, saturation: float, value: float) -> np.ndarray:
    """BGR, 0..255, of a hue, saturation and value in 0..1."""
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue, saturation, value)[::-1])


def sample_appearances(rng: np.random.Generator, count: int) -> list[Appearance]:
    """Looks of ``count`` people."""
    people = []
    for draws in rng.random((count, 28)).tolist():
        shirt = _cloth(draws[0], draws[1] * 0.85, 0.3 + 0.68 * draws[2])
        accent = _cloth(draws[3], draws[4] * 0.9, 0.25 + 0.73 * draws[5])
        if abs(float((shirt - accent).mean())) < 45:
            accent = np.where(shirt.mean() > 128, accent * 0.45, 255 - (255 - accent) * 0.45)
        people.append(
            Appearance(
                skin=_SKIN_TONES[int(draws[6] * len(_SKIN_TONES))] * (0.94 + 0.12 * draws[7]),
                hair_colour=_HAIR_TONES[int(draws[8] * len(_HAIR_TONES))] * (0.85 + 0.3 * draws[9]),
                shirt=shirt,
                accent=accent,
                trousers=_cloth(0.55 + 0.2 * draws[10], 0.6 * draws[11], 0.16 + 0.6 * draws[12] ** 1.5),
                shoes=_cloth(draws[13], draws[14] ** 2 * 0.8, 0.12 + 0.8 * draws[15] ** 2),
                sleeve=_pick(
                    {(0.0, 0.0): 0.1, (0.62, 0.0): 0.42, (1.0, 0.4): 0.1, (1.0, 1.0): 0.38}, draws[16]
                ),
                trouser=_pick({(1.0, 1.0): 0.62, (1.0, 0.0): 0.26, (1.0, 0.45): 0.12}, draws[17]),
                skirt=0.55 + 0.45 * draws[18] / 0.16 if draws[18] < 0.16 else 0.0,
                tucked=draws[19] < 0.4,
                hair=_pick({"none": 0.1, "short": 0.58, "long": 0.32}, draws[20]),
                headwear=_pick({"none": 0.72, "cap": 0.18, "glasses": 0.1}, draws[21]),
                front=_pick({"plain": 0.22, "buttons": 0.3, "jacket": 0.24, "print": 0.24}, draws[22]),
                back=_pick({"plain": 0.4, "yoke": 0.38, "backpack": 0.22}, draws[23]),
                stripes=draws[24] < 0.22,
                badge=draws[25] < 0.35,
                watch=draws[26] < 0.35,
            )
        )
    return people
