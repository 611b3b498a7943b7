"""Small random datasets in the files of the real ones, for the tests of the evaluation."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.datasets.check import check_dataset_once
from rspose.evaluation.controls import oracle
from rspose.evaluation.predictions import Predictions
from rspose.grid.files import write_json
from rspose.tools import official

IN_JSON = [name for name, known in DATASETS.items() if known.format != "joints"]
"""Datasets whose annotations are JSON."""
JOINTS = {name: len(DATASETS[name].keypoints) for name in IN_JSON}
# COCO-WholeBody keeps its keypoints in five fields.
WHOLEBODY_COUNTS = {
    field: rows.stop - rows.start for field, rows in DATASETS["wholebody"].keypoints.fields.items()
}


def check_dataset(root: Path, name: str) -> list[str]:
    """What is wrong with a dataset, read anew each time."""
    return check_dataset_once(root, name, Path(os.devnull)).problems


def file_of(root: Path, dataset: str, part: str) -> Path:
    """The annotations of a split of the dataset at ``root``, or its detections."""
    known = DATASETS[dataset]
    return root / (str(known.detections) if part == "detections" else known.annotations[part])


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON file, in place or to what ``change`` returns."""
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def write_crowded_dataset(root: Path, dataset: str, seed: int, images: int = 30) -> None:
    """All but MPII, with crowds, unlabelled keypoints and persons, and imperfect detections."""
    rng = np.random.default_rng(seed)
    for split in ("train", "val"):
        records, persons = [], []
        for image_id in range(100, 100 + images):
            # An image in seven is empty. Crowd indices spread over easy, medium and hard.
            records.append(
                {
                    "id": image_id,
                    "file_name": f"{image_id}.jpg",
                    "width": 640,
                    "height": 480,
                    "crowdIndex": float(rng.uniform()),
                }
            )
            for _ in range(0 if image_id % 7 == 0 else rng.integers(1, 6)):
                persons.append(random_person(rng, dataset, len(persons) + 1, image_id))
        write_coco_split(root, dataset, split, records, persons)
    detections = []
    for person in persons:
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            size = np.array(person["bbox"][2:])
            box = np.array(person["bbox"]) + rng.normal(0, 0.05, 4) * np.tile(size, 2)
            detections.append(detection(person["image_id"], box, rng.uniform(0.05, 1)))
    for record in records:
        box = np.concatenate([rng.uniform(0, 300, 2), rng.uniform(20, 150, 2)])
        detections.append(detection(record["id"], box, rng.uniform(0.01, 0.6)))
    detections.append({**detection(100, np.array([1.0, 1, 50, 50]), 0.99), "category_id": 17})
    write_json(root / DATASETS[dataset].detections, detections)


def write_coco_split(root: Path, dataset: str, split: str, records: list[dict], persons: list[dict]) -> None:
    category = {"id": 1, "name": "person", "supercategory": "person"}
    content = {"images": records, "annotations": persons, "categories": [category]}
    write_json(root / DATASETS[dataset].annotations[split], content)


def random_person(
    rng: np.random.Generator, dataset: str, annotation_id: int, image_id: int
) -> dict[str, Any]:
    width, height = rng.uniform(25, 220, 2)
    x, y = rng.uniform(0, 640 - width), rng.uniform(0, 480 - height)
    flags = rng.choice([0, 1, 2], JOINTS[dataset], p=[0.2, 0.2, 0.6])
    kind = rng.uniform()
    if kind < 0.15:
        flags[:] = 0
    places = np.array([x, y]) + rng.uniform(0, 1, (JOINTS[dataset], 2)) * [width, height]
    places[flags == 0] = 0
    person = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x, y, width, height],
        "keypoints": np.column_stack([places.round(2), flags]).ravel().tolist(),
        # CrowdPose leaves out head and neck.
        "num_keypoints": int((flags[: 12 if dataset == "crowdpose" else None] > 0).sum()),
        "iscrowd": int(kind > 0.95),
    }
    if dataset in ("coco", "wholebody"):
        person["area"] = 0.6 * width * height
    if dataset == "wholebody":
        split_fields(rng, person)
    return person


def split_fields(rng: np.random.Generator, person: dict[str, Any]) -> None:
    """Spread the keypoints over the fields of COCO-WholeBody; one part in three is not annotated."""
    triples = np.array(person["keypoints"]).reshape(-1, 3)
    start = 0
    for field, count in WHOLEBODY_COUNTS.items():
        part = triples[start : start + count]
        if rng.uniform() < 0.3:
            part = np.zeros_like(part)
        person[field] = part.ravel().tolist()
        start += count
    person["num_keypoints"] = int((np.array(person["keypoints"][2::3]) > 0).sum())


def detection(image_id: int, box: np.ndarray, score: float) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "bbox": np.asarray(box).tolist(), "score": float(score)}


def write_mpii_dataset(root: Path, seed: int, persons: int = 40) -> None:
    rng = np.random.default_rng(seed)
    for split in ("train", "val"):
        entries = []
        for index in range(persons):
            scale = rng.uniform(0.5, 2)
            center = rng.uniform(150, 450, 2)
            joints = center + rng.uniform(-60, 60, (16, 2)) * scale
            seen = rng.uniform(size=16) < 0.8
            joints[~seen] = 0
            entries.append(
                {
                    # Two persons share an image now and then.
                    "image": f"{index // 3 + 1:09d}.jpg",
                    "center": center.tolist(),
                    "scale": scale,
                    "joints": joints.round(2).tolist(),
                    "joints_vis": seen.astype(int).tolist(),
                }
            )
        write_json(root / DATASETS["mpii"].annotations[split], entries)
    corners = rng.uniform(50, 100, (2, 2, persons))
    corners[1] += rng.uniform(10, 40, (2, persons))
    savemat(root / DATASETS["mpii"].headboxes, {"headboxes_src": corners})


def write_lsp_dataset(
    root: Path,
    seed: int,
    pictures: int = 6,
    extended: int = 3,
    occluded: tuple[int, int] | None = None,
    unlabelled: tuple[int, int] | None = None,
) -> None:
    """LSP and LSPET of noise, 100 x 80 pixels; picture and joint of one flag of each."""
    rng = np.random.default_rng(seed)
    for name, count, digits in (("lsp", pictures, 4), ("lspet", extended, 5)):
        (root / name / "images").mkdir(parents=True)
        for number in range(1, count + 1):
            noise = rng.integers(0, 255, (80, 100, 3), np.uint8)
            Image.fromarray(noise).save(root / name / f"images/im{number:0{digits}d}.jpg")
    flags, labelled = np.zeros((pictures, 14, 1)), np.ones((extended, 14, 1))
    if occluded:
        flags[occluded] = 1
    if unlabelled:
        labelled[unlabelled] = 0
    joints = np.concatenate([rng.uniform(10, 70, (pictures, 14, 2)).round(3), flags], axis=2)
    savemat(root / "lsp/joints.mat", {"joints": joints.transpose(2, 1, 0)})
    joints = np.concatenate([rng.uniform(10, 70, (extended, 14, 2)).round(3), labelled], axis=2)
    savemat(root / "lspet/joints.mat", {"joints": joints.transpose(1, 2, 0)})


def write_dataset(root: Path, dataset: str, seed: int, images: int = 30) -> None:
    """Any dataset; MPII has 40 persons and LSP 9, whatever ``images`` says."""
    if dataset == "mpii":
        write_mpii_dataset(root, seed)
    elif dataset == "lsp":
        write_lsp_dataset(root, seed)
    else:
        write_crowded_dataset(root, dataset, seed, images)


def with_noise(predictions: Predictions, seed: int) -> Predictions:
    """Predictions moved off by errors of all sizes, with confidences that know a little of their error."""
    rng = np.random.default_rng(seed)
    shape = predictions.confidence.shape
    # Errors in parts of the box's size: some duplicates stay within an OKS of 0.9 of each other, some do not.
    scale = np.sqrt(predictions.area)[:, None] * rng.choice([0.002, 0.02, 0.08], (len(predictions), 1))
    error = rng.normal(0, 1, (*shape, 2)) * scale[..., None]
    relative = np.linalg.norm(error, axis=-1) / np.sqrt(predictions.area)[:, None]
    confidence = np.clip(0.9 - 6 * relative + rng.normal(0, 0.15, shape), 0, 1)
    # Some instances have no keypoint above the threshold of 0.2.
    confidence[rng.uniform(size=len(predictions)) < 0.05] *= 0.2
    return replace(predictions, keypoints=predictions.keypoints + error, confidence=confidence)


def noisy_predictions(root: Path, dataset: str, seed: int, images: int = 30) -> Predictions:
    """Write a dataset; noisy predictions on it."""
    write_dataset(root, dataset, seed, images)
    return with_noise(oracle(dataset, root), seed)


def suppressed_detections(
    root: Path, dataset: str, seed: int, images: int = 30
) -> tuple[Predictions, np.ndarray, Annotations]:
    """Write a dataset; noisy detections on it after suppression with their scores, and the annotations."""
    predictions = noisy_predictions(root, dataset, seed, images)
    kept, scores = official.suppressed(predictions, DATASETS[dataset])
    return kept, scores, read_annotations(dataset, root, "val")


def official_ap(dataset: str, kept: Predictions, scores: np.ndarray, root: Path) -> float:
    """AP by the official evaluator."""
    known = DATASETS[dataset]
    results = official.results(known, kept, scores)
    return official.summarise(known, official.match(known, results, root / known.annotations["val"]))["AP"]


def naive_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    sides = np.minimum(first[:2] + first[2:], second[:2] + second[2:]) - np.maximum(first[:2], second[:2])
    shared = max(sides[0], 0.0) * max(sides[1], 0.0)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)
