"""Writes a generated dataset: pictures, annotations, detections, and a manifest when all is there."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rspose.datasets import SPLITS, Dataset, dataset
from rspose.datasets.interface import Drawn
from rspose.datasets.manifest import MANIFEST, dataset_digests, read_manifest
from rspose.drawn.annotations import (
    Record,
    annotated_people,
    coco_annotations,
    coco_file,
    coco_image,
    mpii_annotations,
    mpii_headbox_file,
)
from rspose.drawn.background import Backgrounds
from rspose.drawn.detections import detect_people
from rspose.drawn.scene import SUPERSAMPLING, Scene, draw_scene

DEMO_SIZE = (320, 240)
"""Width and height of the demo's images, pixels."""

JPEG_QUALITY = 90
FIRST_IMAGE_ID = {"train": 1, "val": 500_001}
"""Image ids do not depend on how many images there are, and those of train and val never meet."""

_MAX_IMAGES = FIRST_IMAGE_ID["val"] - FIRST_IMAGE_ID["train"]


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """One thread for OpenCV: its threads only get in each other's way on small images."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def looks(known: Dataset) -> Drawn:
    """How pictures of a dataset are drawn.

    Raises:
        ValueError: If they are not.
    """
    if known.drawn is None:
        raise ValueError(f"{known.name}: its module does not say how its pictures are drawn; set data.*.root")
    return known.drawn


def in_detail(known: Dataset) -> bool:
    """Whether the people of a dataset have faces, hands and feet in detail."""
    return bool(known.keypoints.parts)


def scene_generator(seed: int, known: Dataset, split: str, index: int) -> np.random.Generator:
    """The source of randomness of one image, which depends on no other image."""
    return np.random.default_rng([seed, looks(known).number, SPLITS.index(split), index])


def split_backgrounds(seed: int, known: Dataset, split: str, size: tuple[int, int]) -> Backgrounds:
    """The places of one split: train and val share none."""
    entropy = (seed, looks(known).number, SPLITS.index(split), 0, 1)
    return Backgrounds(entropy, (SUPERSAMPLING * size[0], SUPERSAMPLING * size[1]))


def make_dataset(
    name: str,
    out: Path,
    images: int,
    seed: int,
    val_images: int | None = None,
    size: tuple[int, int] = DEMO_SIZE,
    progress: Callable[[int, int], None] | None = None,
    version: str = "",
) -> dict[str, Any]:
    """Write a generated dataset in the files of the real one.

    All is written beside ``out`` first and moved there at the end, so a folder with a manifest is whole.
    A generated dataset that is there already is replaced.

    Args:
        name: Name of the dataset.
        out: Root of the dataset; created.
        images: Images of the train split.
        seed: The same seed gives the same bytes.
        val_images: Images of the val split; a fifth of ``images`` by default.
        size: Width and height of the images, pixels.
        progress: Called with the images written and the images to write.
        version: What the manifest says of the code that drew it.

    Returns:
        The manifest, which is also written to ``manifest.json``.

    Raises:
        ValueError: If an argument is out of range, or ``out`` holds files that were not generated.
    """
    known = dataset(name)
    crowd = looks(known)
    counts = {"train": images, "val": max(1, images // 5) if val_images is None else val_images}
    for split, count in counts.items():
        if not 1 <= count <= _MAX_IMAGES:
            raise ValueError(f"{split} images: expected 1 to {_MAX_IMAGES}, found {count}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, found {seed}")
    if min(size) < 64:
        raise ValueError(f"size: expected at least 64x64 pixels, found {size[0]}x{size[1]}")
    out = Path(out)
    _require_replaceable(out)

    staging = out.with_name(out.name + ".partial")
    if staging.exists():
        shutil.rmtree(staging)
    for path in known.files:
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
    done = 0
    with single_threaded_opencv():
        for split in SPLITS:
            writer = _SplitWriter(known, split, staging, size)
            backgrounds = split_backgrounds(seed, known, split, size)
            for index in range(counts[split]):
                rng = scene_generator(seed, known, split, index)
                scene = draw_scene(rng, crowd, backgrounds, size, in_detail(known))
                writer.add(index, scene, rng)
                done += 1
                if progress is not None:
                    progress(done, sum(counts.values()))
            writer.close()

    manifest = {
        "dataset": name,
        "generated": True,
        "seed": seed,
        "images": counts,
        "size": list(size),
        "generator": version,
        "files": dataset_digests(staging, name),
    }
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=2))
    if out.exists():
        shutil.rmtree(out)
    staging.replace(out)
    return manifest


def _require_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: expected a folder to write the dataset to, found a file")
    if out.exists() and read_manifest(out) is None and any(path.is_file() for path in out.rglob("*")):
        raise ValueError(f"{out}: holds files that were not generated (no {MANIFEST}); choose another folder")


class _SplitWriter:
    """Writes one split: its images one by one, its annotation files at the end."""

    def __init__(self, known: Dataset, split: str, root: Path, size: tuple[int, int]) -> None:
        self._known, self._split, self._root, self._size = known, split, root, size
        self._images: list[Record] = []
        self._annotations: list[Record] = []
        self._detections: list[Record] = []
        self._headboxes: list[np.ndarray] = []
        self._folder = root / known.images[split]
        self._folder.mkdir(parents=True, exist_ok=True)

    def add(self, index: int, scene: Scene, rng: np.random.Generator) -> None:
        image_id = FIRST_IMAGE_ID[self._split] + index
        file_name = f"{image_id:0{looks(self._known).name_digits}d}.jpg"
        _, encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (self._folder / file_name).write_bytes(encoded.tobytes())
        people = annotated_people(scene)
        if self._known.format == "mpii":
            annotations, headboxes = mpii_annotations(people, self._known, file_name, self._size)
            self._headboxes += headboxes
        else:
            annotations = coco_annotations(people, self._known, image_id)
            self._images.append(coco_image(self._known, image_id, file_name, self._size, annotations))
        self._annotations += annotations
        if self._split == "val" and self._known.detections is not None:
            self._detections += detect_people(rng, people, image_id, self._size)

    def close(self) -> None:
        of_mpii = self._known.format == "mpii"
        content = self._annotations if of_mpii else coco_file(self._known, self._images, self._annotations)
        (self._root / self._known.annotations[self._split]).write_text(json.dumps(content))
        if self._split == "val":
            if self._known.detections is not None:
                (self._root / self._known.detections).write_text(json.dumps(self._detections))
            if self._known.headboxes is not None:
                headboxes = mpii_headbox_file(self._annotations, self._headboxes)
                (self._root / self._known.headboxes).write_bytes(headboxes)
