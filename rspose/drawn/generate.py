"""Writes a generated dataset: pictures, annotations, detections, and a manifest when all is there."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rspose.datasets.layout import LAYOUTS, SPLITS, dataset_layout
from rspose.datasets.manifest import MANIFEST, dataset_digests, read_manifest
from rspose.drawn.annotations import (
    Record,
    annotated_people,
    coco_annotations,
    coco_file,
    coco_image,
    crowdpose_annotations,
    crowdpose_image,
    mpii_annotations,
    mpii_headbox_file,
    wholebody_annotations,
)
from rspose.drawn.background import Backgrounds
from rspose.drawn.detections import detect_people
from rspose.drawn.scene import CROWDS, IN_DETAIL, SUPERSAMPLING, Scene, draw_scene
from rspose.drawn.version import generator_version

DEMO_SIZE = (320, 240)
"""Width and height of the demo's images, pixels."""

JPEG_QUALITY = 90
FIRST_IMAGE_ID = {"train": 1, "val": 500_001}
"""Image ids do not depend on how many images there are, and those of train and val never meet."""

_MAX_IMAGES = FIRST_IMAGE_ID["val"] - FIRST_IMAGE_ID["train"]
_NAME_DIGITS = {"coco": 12, "crowdpose": 6, "mpii": 9, "wholebody": 12}


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """One thread for OpenCV: its threads only get in each other's way on small images."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def scene_generator(seed: int, dataset: str, split: str, index: int) -> np.random.Generator:
    """The source of randomness of one image, which depends on no other image."""
    return np.random.default_rng([seed, list(LAYOUTS).index(dataset), SPLITS.index(split), index])


def split_backgrounds(seed: int, dataset: str, split: str, size: tuple[int, int]) -> Backgrounds:
    """The places of one split: train and val share none."""
    entropy = (seed, list(LAYOUTS).index(dataset), SPLITS.index(split), 0, 1)
    return Backgrounds(entropy, (SUPERSAMPLING * size[0], SUPERSAMPLING * size[1]))


def make_dataset(
    dataset: str,
    out: Path,
    images: int,
    seed: int,
    val_images: int | None = None,
    size: tuple[int, int] = DEMO_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a generated dataset in the files of the real one.

    All is written beside ``out`` first and moved there at the end, so a folder with a manifest is whole.
    A generated dataset that is there already is replaced.

    Args:
        dataset: ``"coco"``, ``"crowdpose"``, ``"mpii"`` or ``"wholebody"``.
        out: Root of the dataset; created.
        images: Images of the train split.
        seed: The same seed gives the same bytes.
        val_images: Images of the val split; a fifth of ``images`` by default.
        size: Width and height of the images, pixels.
        progress: Called with the images written and the images to write.

    Returns:
        The manifest, which is also written to ``manifest.json``.

    Raises:
        ValueError: If an argument is out of range, or ``out`` holds files that were not generated.
    """
    layout = dataset_layout(dataset)
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
    for path in layout.files:
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
    done = 0
    with single_threaded_opencv():
        for split in SPLITS:
            writer = _SplitWriter(dataset, split, staging, size)
            backgrounds = split_backgrounds(seed, dataset, split, size)
            for index in range(counts[split]):
                rng = scene_generator(seed, dataset, split, index)
                scene = draw_scene(rng, CROWDS[dataset], backgrounds, size, dataset in IN_DETAIL)
                writer.add(index, scene, rng)
                done += 1
                if progress is not None:
                    progress(done, sum(counts.values()))
            writer.close()

    manifest = {
        "dataset": dataset,
        "generated": True,
        "seed": seed,
        "images": counts,
        "size": list(size),
        "generator": generator_version(),
        "files": dataset_digests(staging, dataset),
    }
    _write_json(staging / MANIFEST, manifest, indent=2)
    if out.exists():
        shutil.rmtree(out)
    staging.replace(out)
    return manifest


def _require_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: expected a folder to write the dataset to, found a file")
    if out.exists() and read_manifest(out) is None and any(path.is_file() for path in out.rglob("*")):
        raise ValueError(f"{out}: holds files that were not generated (no {MANIFEST}); choose another folder")


def _write_json(path: Path, content: object, indent: int | None = None) -> None:
    """Write to a file beside, then rename: nobody reads half a file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=indent))
    partial.replace(path)


class _SplitWriter:
    """Writes one split: its images one by one, its annotation files at the end."""

    def __init__(self, dataset: str, split: str, root: Path, size: tuple[int, int]) -> None:
        self._dataset, self._split, self._root, self._size = dataset, split, root, size
        self._layout = dataset_layout(dataset)
        self._images: list[Record] = []
        self._annotations: list[Record] = []
        self._detections: list[Record] = []
        self._headboxes: list[np.ndarray] = []
        (root / self._layout.images[split]).mkdir(parents=True, exist_ok=True)

    def add(self, index: int, scene: Scene, rng: np.random.Generator) -> None:
        image_id = FIRST_IMAGE_ID[self._split] + index
        file_name = f"{image_id:0{_NAME_DIGITS[self._dataset]}d}.jpg"
        _, encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        (self._root / self._layout.images[self._split] / file_name).write_bytes(encoded.tobytes())
        people = annotated_people(scene)
        if self._dataset in ("coco", "wholebody"):
            self._images.append(coco_image(image_id, file_name, self._size))
            annotate = coco_annotations if self._dataset == "coco" else wholebody_annotations
            self._annotations += annotate(people, image_id)
        elif self._dataset == "crowdpose":
            annotations = crowdpose_annotations(people, image_id)
            self._images.append(crowdpose_image(image_id, file_name, self._size, annotations))
            self._annotations += annotations
        else:
            records, headboxes = mpii_annotations(people, file_name, self._size)
            self._annotations += records
            self._headboxes += headboxes
        if self._split == "val" and self._layout.detections is not None:
            self._detections += detect_people(rng, people, image_id, self._size)

    def close(self) -> None:
        path = self._root / self._layout.annotations[self._split]
        if self._dataset == "mpii":
            _write_json(path, self._annotations)
        else:
            _write_json(path, coco_file(self._dataset, self._images, self._annotations))
        if self._split == "val":
            if self._layout.detections is not None:
                _write_json(self._root / self._layout.detections, self._detections)
            if self._layout.headboxes is not None:
                content = mpii_headbox_file(self._annotations, self._headboxes)
                (self._root / self._layout.headboxes).write_bytes(content)
