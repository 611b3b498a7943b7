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
    """The K keypoints of a dataset, in the order of its annotations.

    Sigmas are standard deviations of human annotation as fractions of the object scale, the square root of
    its area. Where several fields of an annotation hold keypoints, ``keypoints`` has those of the body, which
    come first.
    """

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]  # pairs of indices that are joined by a line when drawn
    sigmas: tuple[float, ...]
    fields: Mapping[str, slice] = field(default_factory=dict)  # which keypoints a field holds

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
    """What one split holds."""

    images: int
    persons: int | None  # with or without keypoints; None where no source states it


@dataclass(frozen=True)
class Download:
    """A file that authors offer, and where what it brings goes below the root.

    ``folders`` has the folder of each file by the end of its path in an archive, wherever that lies:
    ``{"images/*.jpg": "images"}`` takes the pictures of a folder ``images``. What is no archive goes by its
    own name. Archives end in ``.zip``, ``.tar`` or ``.tar.gz``.
    """

    file: str
    folders: Mapping[str, str]
    page: str  # where its authors describe it
    address: str | None = None  # None where it has to be fetched by hand
    by_hand: str = ""  # why
    bytes: int | None = None  # about how many; None where no source states it
    sha256: str | None = None


@dataclass(frozen=True)
class Release:
    """The official dataset.

    No author publishes checksums. Those here are stated alike by at least two unrelated public repositories
    that pin their downloads; files for which there are not two have none.
    """

    counts: Mapping[str, SplitCounts]
    instances: int  # persons that are trained on
    downloads: tuple[Download, ...]
    terms: str  # of use, in a line
    sha256: Mapping[str, str] = field(default_factory=dict)  # of a file, by its path below the root
    folder: str | None = None  # below `data`, where it is not the dataset's name


@dataclass(frozen=True)
class Drawn:
    """What the pictures of a drawn dataset look like, and how many people come to one."""

    number: int  # tells its pictures from those of other datasets that are drawn from the same seed
    name_digits: int  # of an image's file name
    counts: tuple[float, ...]  # probability of 1, 2, ... people
    shots: tuple[float, float, float]  # probability of a close-up, a medium and a long shot
    instances: float  # mean number of persons of an image that are trained on
    huddle: bool = False  # whether all stand together, at a spacing drawn for each scene


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset: its keypoints, files, evaluation and release. Paths are relative to the dataset's root."""

    name: str  # in configs and records
    title: str  # in tables and figures
    keypoints: KeypointSet
    # Of the annotations: COCO's, MPII's in the JSON of the HRNet authors, or LSP's joints.mat.
    format: Literal["coco", "mpii", "joints"]
    annotations: Mapping[str, str]  # file per split
    images: Mapping[str, str]  # folder per split
    mmpose_config: str  # whose dataset class, file names and augmentation are used
    evaluator: str  # one of rspose.evaluation.evaluate.EVALUATORS
    metrics: Mapping[str, str]  # in the order of the columns: name in a record, and header of the column
    measured: str  # what the columns are, in words
    main_metric: str  # the one in overviews
    release: Release
    drawn: Drawn | None = None  # None where no pictures are drawn in its format
    detections: str | None = None  # of persons in val; None where ground-truth boxes are evaluated
    headboxes: str | None = None  # of val (MATLAB)
    extension: str | None = None  # a second annotation file of train
    least_keypoints: int = 0  # labelled ones of a person that is trained on; a config may say another number
    first_pixel: int = 0  # coordinates of the first pixel's centre in the annotations

    @property
    def files(self) -> tuple[str, ...]:
        """Every file beside the images."""
        every = (*self.annotations.values(), self.extension, self.detections, self.headboxes)
        return tuple(dict.fromkeys(path for path in every if path is not None))

    @property
    def image_folders(self) -> tuple[str, ...]:
        """Every folder of images."""
        if self.format == "joints":  # one beside each file
            return tuple(file.rpartition("/")[0] + "/images" for file in self.files)
        return tuple(sorted(set(self.images.values())))

    def files_of(self, *uses: str) -> tuple[str, ...]:
        """The files that are read to ``train``, to ``predict`` and to ``evaluate``."""
        val = self.annotations["val"]
        read = {
            "train": (self.annotations["train"], self.extension),
            "predict": (val, self.detections),
            "evaluate": (val, self.headboxes),
        }
        return tuple(dict.fromkeys(file for use in uses for file in read[use] if file is not None))

    @property
    def iou_type(self) -> str:
        """What COCO's evaluator calls the kind of its keypoints."""
        return "keypoints" if self.evaluator == "pck" else self.evaluator

    @property
    def crowded(self) -> bool:
        """Whether images have a crowd index, as CrowdPose's, and persons no annotated area."""
        return self.evaluator == "keypoints_crowd"
