"""What the project knows of a dataset: the form that each module of a dataset fills in once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val")


@dataclass(frozen=True)
class KeypointSet:
    """The K keypoints of a dataset.

    Attributes:
        names: One name per keypoint, in annotation order.
        skeleton: Pairs of keypoint indices (0-based) that are joined by a line when drawn.
        sigmas: Standard deviation of human annotation per keypoint, as a fraction of the object scale
            (the square root of its area). The OKS falloff is ``k = 2 * sigma``.
        fields: The fields of an annotation that hold the keypoints, and which ones; where there are several,
            ``keypoints`` has those of the body, which come first.
    """

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    fields: Mapping[str, slice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.fields:
            object.__setattr__(self, "fields", {"keypoints": slice(0, len(self))})

    def __len__(self) -> int:
        return len(self.names)

    @property
    def body(self) -> int:
        """How many belong to the body; those after them lie close together and are drawn smaller."""
        return int(self.fields["keypoints"].stop)

    @property
    def parts(self) -> dict[str, slice]:
        """The keypoints of each part that is evaluated on its own; empty where there is the body alone."""
        if len(self.fields) == 1:
            return {}
        rest = {name.removesuffix("_kpts"): rows for name, rows in self.fields.items() if name != "keypoints"}
        return {"body": self.fields["keypoints"], **rest}

    @property
    def flip_indices(self) -> tuple[int, ...]:
        """For each keypoint, the index of its mirror image (itself on the body's midline)."""
        return tuple(self.names.index(mirrored(name)) for name in self.names)

    @property
    def falloff(self) -> np.ndarray:
        """OKS falloff constants ``k = 2 * sigma``, float64 ``[K]``."""
        import numpy as np  # the command line reads names only, and runs where torch alone is installed

        return 2.0 * np.asarray(self.sigmas, dtype=np.float64)


def mirrored(name: str) -> str:
    """The name of the same point of the other side, or itself on the midline."""
    side, _, point = name.partition("_")
    return {"left": f"right_{point}", "right": f"left_{point}"}.get(side, name)


@dataclass(frozen=True)
class SplitCounts:
    """What one split holds.

    Attributes:
        images: Images of the annotation file.
        persons: Annotated persons, with or without keypoints; None where no source states it.
    """

    images: int
    persons: int | None


@dataclass(frozen=True)
class Release:
    """The official dataset.

    No author publishes checksums. Those here are stated alike by at least two unrelated public repositories
    that pin their downloads; files for which there are not two have none.

    Attributes:
        counts: Per split.
        instances: Persons that are trained on.
        fetch: What to fetch, from where, and where it goes below the root.
        sha256: Checksum of a file, by its path below the root.
    """

    counts: Mapping[str, SplitCounts]
    instances: int
    fetch: tuple[tuple[str, str, str], ...]
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """What the pictures of a drawn dataset look like, and how many people come to one.

    Attributes:
        number: Tells its pictures from those of other datasets that are drawn from the same seed.
        name_digits: Digits of an image's file name.
        counts: Probability of 1, 2, ... people.
        shots: Probability of a close-up, a medium and a long shot.
        instances: Mean number of persons of an image that are trained on.
        huddle: Whether all stand together, at a spacing that is drawn for each scene, or each finds a place.
    """

    number: int
    name_digits: int
    counts: tuple[float, ...]
    shots: tuple[float, float, float]
    instances: float
    huddle: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset: its keypoints, files, evaluation and release. Paths are relative to the dataset's root.

    Attributes:
        name: As used in configs and records.
        title: As used in tables and figures.
        keypoints: The keypoints, with skeleton and sigmas.
        format: Form of the annotation files: COCO's, or MPII's in the JSON of the HRNet authors.
        annotations: Annotation file per split.
        images: Image folder per split.
        mmpose_config: mmpose config whose dataset class, file names and augmentation are used.
        evaluator: One of :data:`rspose.evaluation.evaluate.EVALUATORS`.
        metrics: The metrics in the order of the columns: name in a record, and header of the column.
        main_metric: The one metric in overviews.
        release: The official dataset.
        drawn: How pictures in its format are drawn; None where they are not.
        detections: Person detections of the val split; None where ground-truth boxes are evaluated.
        headboxes: Head boxes of the val split (MATLAB), or None.
        first_pixel: Coordinates of the first pixel's centre in the annotations.
    """

    name: str
    title: str
    keypoints: KeypointSet
    format: Literal["coco", "mpii"]
    annotations: Mapping[str, str]
    images: Mapping[str, str]
    mmpose_config: str
    evaluator: str
    metrics: Mapping[str, str]
    main_metric: str
    release: Release
    drawn: Drawn | None = None
    detections: str | None = None
    headboxes: str | None = None
    first_pixel: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        """Every file beside the images."""
        optional = tuple(path for path in (self.detections, self.headboxes) if path is not None)
        return (*self.annotations.values(), *optional)

    @property
    def crowded(self) -> bool:
        """Whether images have a crowd index, as CrowdPose's, and persons no annotated area."""
        return self.evaluator == "keypoints_crowd"
