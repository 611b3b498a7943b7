"""Writes a generated dataset: pictures, annotations, detections, and a manifest when all is there."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rspose.datasets import SPLITS, Dataset, dataset
from rspose.datasets.manifest import MANIFEST, dataset_digests, read_manifest
from rspose.drawn.annotations import (
    Record,
    annotated_people,
    coco_entries,
    coco_file,
    mpii_entries,
    mpii_headbox_file,
)
from rspose.drawn.detections import detect_people
from rspose.drawn.lsp import write_joints
from rspose.drawn.scene import drawings, drawn_of, write_picture

DEMO_SIZE = (320, 240)
"""Width and height of the demo's images, pixels."""

# Image ids do not depend on how many images there are, and those of train and val never meet.
_FIRST_IMAGE_ID = {"train": 1, "val": 500_001}
_MAX_IMAGES = 500_000


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """One thread for OpenCV: its threads only get in each other's way on small images."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def make_dataset(
    name: str,
    out: Path,
    images: int,
    seed: int,
    val_images: int,
    size: tuple[int, int] = DEMO_SIZE,
    progress: Callable[[int, int], None] | None = None,
    version: str = "",
) -> dict[str, Any]:
    """Write a generated dataset in the files of the real one.

    It is written beside ``out`` first and moved there at the end, in place of a generated one that is there
    already, so a folder with a manifest is whole.

    Args:
        name: Name of the dataset.
        out: Root of the dataset; created.
        images: Images of the train split.
        seed: The same seed gives the same bytes.
        val_images: Images of the val split.
        size: Width and height of the images, pixels.
        progress: Called with the images written and the images to write.
        version: What the manifest says of the code that drew it.

    Returns:
        The manifest, which is also written to ``manifest.json``.

    Raises:
        ValueError: If an argument is out of range, or ``out`` holds files that were not generated.
    """
    known = dataset(name)
    drawn_of(known)
    counts = {"train": images, "val": val_images}
    for split, count in counts.items():
        if not 1 <= count <= _MAX_IMAGES:
            raise ValueError(f"{split} images: expected 1 to {_MAX_IMAGES}, found {count}")
    if known.extension is not None and counts["train"] < counts["val"]:
        raise ValueError(
            f"train images: expected at least as many as of val, since half of {known.title} trains, found "
            f"{counts['train']} for {counts['val']}"
        )
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, found {seed}")
    if min(size) < 64:
        raise ValueError(f"size: expected at least 64x64 pixels, found {size[0]}x{size[1]}")
    out = Path(out).resolve()  # a link stays, and what is drawn is on its disk
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: expected a folder to write the dataset to, found a file")
    if out.exists() and read_manifest(out) is None and any(path.is_file() for path in out.rglob("*")):
        raise ValueError(f"{out}: holds files that were not generated (no {MANIFEST}); choose another folder")

    staging, old = (out.with_name(f".{out.name}.{what}") for what in ("drawing", "replaced"))
    for left in (staging, old):  # by a run that was killed
        if left.exists():
            shutil.rmtree(left)
    for path in known.files:
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
    with single_threaded_opencv():
        if known.format == "joints":
            written = write_joints(known, staging, counts, seed, size)
        else:
            splits = (_write_split(known, split, staging, counts[split], seed, size) for split in SPLITS)
            written = chain.from_iterable(splits)
        for done, _ in enumerate(written, start=1):
            if progress is not None:
                progress(done, sum(counts.values()))

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
        out.replace(old)  # whole: half of it would not be known as drawn
    staging.replace(out)
    if old.exists():
        shutil.rmtree(old)
    return manifest


def _write_split(
    known: Dataset, split: str, root: Path, count: int, seed: int, size: tuple[int, int]
) -> Iterator[None]:
    """Write one split, its annotation files last. Yields after each image."""
    folder = root / known.images[split]
    folder.mkdir(parents=True, exist_ok=True)
    images: list[Record] = []
    annotations: list[Record] = []
    detections: list[Record] = []
    headboxes: list[np.ndarray] = []
    drawn = drawings(known, split, count, seed, size)
    for image_id, (rng, draw) in enumerate(drawn, start=_FIRST_IMAGE_ID[split]):
        scene = draw()
        file_name = f"{image_id:0{drawn_of(known).name_digits}d}.jpg"
        write_picture(folder / file_name, scene)
        people = annotated_people(scene)
        if known.format == "mpii":
            of_image, boxes = mpii_entries(people, known, file_name, size)
            headboxes += boxes
        else:
            image, of_image = coco_entries(people, known, image_id, file_name, size)
            images.append(image)
        annotations += of_image
        if split == "val" and known.detections is not None:
            detections += detect_people(rng, people, image_id, size)
        yield
    content = annotations if known.format == "mpii" else coco_file(known, images, annotations)
    (root / known.annotations[split]).write_text(json.dumps(content))
    if split == "val" and known.detections is not None:
        (root / known.detections).write_text(json.dumps(detections))
    if split == "val" and known.headboxes is not None:
        (root / known.headboxes).write_bytes(mpii_headbox_file(annotations, headboxes))
