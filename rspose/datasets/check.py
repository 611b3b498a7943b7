"""Are a dataset's files there, whole, and of the right dataset and split? For real and generated ones."""

import json
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rspose.datasets.annotations import (
    Annotations,
    inspect_annotations,
    inspect_detections,
    read_head_sizes,
)
from rspose.datasets.duplicates import difference_hash, near_duplicates
from rspose.datasets.fetch import Progress, described
from rspose.datasets.interface import SPLITS, Dataset, SplitCounts
from rspose.datasets.manifest import file_digest, read_manifest
from rspose.datasets.pictures import turned_size
from rspose.datasets.registry import dataset
from rspose.datasets.validation import Findings, more

# The modules that say what is right.
_CHECKS = ("annotations", "check", "joints", "validation")


@dataclass
class Inspection:
    """What was found out about a dataset."""

    problems: list[str] = field(default_factory=list)  # what makes it unusable, a line each
    notes: list[str] = field(default_factory=list)  # what one should know, a line each
    counts: dict[str, SplitCounts] = field(default_factory=dict)  # of each split that could be read
    images: dict[str, list[str]] = field(default_factory=dict)  # file names of each split

    def take(self, findings: Findings) -> None:
        """Join what was found out about one file."""
        self.problems += findings.problems
        self.notes += findings.notes


def check_dataset_once(root: Path, name: str, memory: Path, least_keypoints: int | None = None) -> Inspection:
    """What is wrong with the dataset at ``root``, and what one should know of it.

    Reads every annotation file, and looks whether their images are there, without opening them. A dataset
    without problems is not read again until a file of it changes: the annotations of COCO-WholeBody have
    gigabytes, too much to be read at the start of every run.
    ``memory`` is the file that keeps size and time of change of what was checked, and what was checked of it;
    ``least_keypoints`` as for :func:`rspose.datasets.annotations.read_annotations`.
    """
    known = dataset(name)
    state: dict[str, Any] = {str(root.resolve()): least_keypoints}
    for each in (*known.files, *known.image_folders):
        status = (root / each).stat() if (root / each).exists() else None
        state[each] = None if status is None else [status.st_size, status.st_mtime_ns]
    state["checks"] = "".join(file_digest(Path(__file__).with_name(f"{each}.py")) for each in _CHECKS)
    if memory.is_file() and memory.read_text() == json.dumps(state, sort_keys=True):
        return Inspection()
    found = _inspect_files(Path(root), known, least_keypoints)
    if not found.problems:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(state, sort_keys=True))
    return found


def inspect_dataset(
    root: Path,
    name: str,
    open_images: bool = True,
    progress: Progress | None = None,
    least_keypoints: int | None = None,
) -> Inspection:
    """Check a dataset as :func:`check_dataset_once` does, count it, and compare it with the official release.

    A folder that holds less than the release is no problem: the notes say how much less.

    Args:
        open_images: Decode every image that is annotated, too.
        progress: Called with the images opened and the images to open.
        least_keypoints: As ``data.<dataset>.least_keypoints`` of a config.
    """
    root, known = Path(root), dataset(name)
    found = _inspect_files(root, known, least_keypoints)
    if len(found.counts) == len(SPLITS):
        found.notes += _compared_with_release(root, known, found.counts)
    if open_images:
        places = {
            split: {root / known.images[split] / name: name for name in names}
            for split, names in found.images.items()
        }
        hashes, problems = _open_images([path for of_split in places.values() for path in of_split], progress)
        found.problems += problems
        if len(places) == len(SPLITS) and read_manifest(root) is None:
            found.notes += near_duplicates(
                {
                    split: {name: hashes[path] for path, name in of_split.items() if path in hashes}
                    for split, of_split in places.items()
                }
            )
    return found


def what_to_fetch(root: Path, name: str) -> list[str]:
    """The files of the official release, whence and whereto, a line each."""
    return [described(each, root) for each in dataset(name).release.downloads]


def _inspect_files(root: Path, known: Dataset, least_keypoints: int | None = None) -> Inspection:
    """What is found out without decoding images."""
    found, annotations = Inspection(), None
    problems = found.problems
    if not root.is_dir():
        problems.append(
            f"{root}: expected the folder of the {known.name} dataset, found nothing; fetch it "
            f"(rspose data fetch {known.name} --root {shlex.quote(str(root))}) or say where it is: "
            f"RSPOSE_DATA in place of data, or data.{known.name}.root in the config"
        )
        return found
    for split in SPLITS:
        folder = root / known.images[split]
        if not folder.is_dir():
            problems.append(f"{folder}: expected the folder of {known.name}'s {split} images, found none")
        with _noting(problems):
            annotations = None  # frees what was read of the other split
            annotations, findings = inspect_annotations(known, root, split, least_keypoints)
            found.take(findings)
            if annotations is None:
                continue
            images = found.images[split] = list(dict.fromkeys(annotations.image_names))
            found.counts[split] = SplitCounts(len(images), len(annotations))
            problems += _split_problems(annotations, root, folder, known, split, images)
    if annotations is not None and len(found.images) == len(SPLITS):
        found.notes += _images_of_both_splits(annotations.path, found.images)
    if known.detections is not None:
        with _noting(problems):
            found.take(inspect_detections(known, root, annotations)[1])
    if known.headboxes is not None:
        with _noting(problems):
            read_head_sizes(known.name, root, None if annotations is None else len(annotations))
    problems[:] = dict.fromkeys(problems)  # both splits of LSP are in one file
    return found


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """What reading complains about becomes a line of ``problems``."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        problems.append(str(error))


def _split_problems(
    annotations: Annotations, root: Path, folder: Path, known: Dataset, split: str, images: list[str]
) -> Iterator[str]:
    """A file as large as the other split of the release is the other split; every image must be there."""
    (other,) = set(SPLITS) - {split}
    expected, found = known.release.counts[split], known.release.counts[other]
    # Of photographs alone: a round number of drawn ones is nothing odd, nor one of those of LSP, in one file.
    separate = known.format != "joints" and read_manifest(root) is None
    if separate and SplitCounts(len(images), found.persons and len(annotations)) == found:
        expected_split = f"expected the {split} split ({expected.images:,} images)"
        found_split = f"found the {found.images:,} images of the {other} split"
        yield f"{annotations.path}: {expected_split}, {found_split}"
    if annotations.ignored.all():
        among = f"found none among {len(annotations):,}"
        yield f"{annotations.path}: expected persons with labelled keypoints, {among}"
    if not folder.is_dir():
        return
    present = {file.name for file in folder.iterdir()}
    if missing := [name for name in images if name not in present and not (folder / name).is_file()]:
        hint = "; is the annotation file of another split?" if len(missing) == len(images) else ""
        yield f"{folder / missing[0]}: expected this {split} image, found none ({len(missing)} missing){hint}"
    yield from _images_of_another_size(folder, annotations)


def _images_of_another_size(folder: Path, annotations: Annotations) -> list[str]:
    """Images that are not of the size that the annotations give, once turned as the loader turns them."""
    places = [folder / name for name in annotations.image_names]
    expected = dict(zip(places, map(tuple, annotations.image_sizes.tolist()), strict=True))
    paths, problems = list(expected), []
    # Handing a path over to a thread takes as long as reading a header.
    portions = [paths[at : at + 256] for at in range(0, len(paths), 256)]
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(lambda portion: [turned_size(path) for path in portion], portions)
        for path, found in zip(expected, chain.from_iterable(sizes), strict=True):
            if isinstance(found, str):
                problems.append(f"{path}: expected an image, found {found}; fetch it again")
            elif found is not None and not np.isnan(expected[path]).any() and expected[path] != found[:2]:
                width, height = expected[path]
                turned = f", turned as its EXIF orientation {found[2]} says" if found[2] != 1 else ""
                problems.append(
                    f"{path}: expected {width:g} x {height:g} pixels as in {annotations.path.name}, "
                    f"found {found[0]} x {found[1]}{turned}"
                )
    return problems[:1] and [problems[0] + more(len(problems) - 1)]


def _images_of_both_splits(val: Path, images: dict[str, list[str]]) -> list[str]:
    shared = sorted(set(images["train"]) & set(images["val"]))
    if not shared:
        return []
    return [
        f"{val}: {len(shared):,} of {len(images['val']):,} val images are in the train split too, "
        f"{shared[0]} for instance: numbers on them say nothing of other images"
    ]


def _compared_with_release(root: Path, known: Dataset, counts: dict[str, SplitCounts]) -> Iterator[str]:
    if read_manifest(root) is not None:
        yield "a generated dataset, as manifest.json says"
        return
    release, official = known.release, True
    for split, found in counts.items():
        expected = release.counts[split]
        if found.images == expected.images and expected.persons in (found.persons, None):
            continue
        official = False
        part = "more" if found.images > expected.images else "not all"
        images = f"{found.images:,} images (official: {expected.images:,})"
        persons = "" if expected.persons is None else f" (official: {expected.persons:,})"
        yield f"{split}: {part} of the official release: {images}, {found.persons:,} persons{persons}"
    if not official:
        yield f"numbers on this folder are not comparable with published ones on {known.name}"
        return
    for name, digest in release.sha256.items():
        if (root / name).is_file() and file_digest(root / name) != digest:
            expected_digest = f"(SHA-256 {digest[:12]}... expected); fetch it again, unless you know why"
            yield f"{root / name}: not byte for byte the official file {expected_digest}"
    if unknown := [path for path in known.files if path not in release.sha256]:
        yield f"no published checksum to compare with: {', '.join(unknown)}"


def _open_images(paths: list[Path], progress: Progress | None) -> tuple[dict[Path, np.ndarray], list[str]]:
    """Hashes of the images, and what does not open."""
    paths = [path for path in dict.fromkeys(paths) if path.is_file()]
    hashes, problems = {}, []
    with ThreadPoolExecutor() as pool:
        for done, (path, opened) in enumerate(zip(paths, pool.map(_opened, paths), strict=True), start=1):
            if opened is not None:
                hashes[path] = opened
            # That it is no image at all is said already.
            elif not isinstance(turned_size(path), str):
                problems.append(f"{path}: expected an image, found a file that does not open; fetch it again")
            if progress is not None:
                progress(done, len(paths))
    return hashes, problems


def _opened(path: Path) -> np.ndarray | None:
    """Hash of an image; None if it is not whole, where OpenCV fills up what is missing in silence."""
    try:
        with Image.open(path) as image:
            image.load()
            return difference_hash(image)
    except (OSError, SyntaxError):
        return None
