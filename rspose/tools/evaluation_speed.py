"""Time and memory of an evaluation beside the official evaluator's: `rspose bench evaluate`."""

import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rspose.datasets import dataset
from rspose.evaluation.evaluate import evaluate
from rspose.evaluation.predictions import Predictions
from rspose.grid.machine import cpu_name, proc_bytes
from rspose.tools import official

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much there is in a split."""

    images: int
    persons: int
    detections: int
    empty: float  # share of images without persons
    unlabelled: float  # share of persons without keypoints


_COCO = Size(5_000, 11_004, 104_125, 0.46, 0.42)
SIZES = {"coco": _COCO, "crowdpose": Size(8_000, 35_000, 106_000, 0.0, 0.0), "wholebody": _COCO}
"""About those of the validation splits with the detections that published results use."""
_WIDTH, _HEIGHT = 640, 480
_COLUMNS = {
    "dataset": ("dataset", ""),
    "images": ("images", ",d"),
    "detections": ("detections", ",d"),
    "seconds": ("evaluation s", ".1f"),
    "memory_gb": ("GB", ".2f"),
    "official_seconds": ("xtcocotools s", ".1f"),
    "official_memory_gb": ("GB ", ".2f"),
    "times_official": ("x xtcocotools", ".2f"),
    "difference": ("largest difference", ".0e"),
}


def report_evaluation(
    names: Sequence[str], times: Sequence[float], as_json: bool, figure: Path | None = None
) -> Iterator[str]:
    """Evaluate made predictions of each dataset, ``times`` the size of its split, and xtcocotools the same.

    Both read files and run in processes of their own; seconds are of the processor. The evaluation does all
    that a record holds, the official one its own numbers; the largest difference is between these. Where a
    ``figure`` is named, the seconds are drawn there against the images.
    """

    from rspose.tools.bench import report  # torch, which would count as memory of what is measured

    rows: list[Row] = []

    def measured() -> Iterator[Row]:
        for name in names:
            for factor in times:
                rows.append(measure(name, factor))
                yield rows[-1]
        if figure:
            draw_growth(rows, figure)

    return report(f"Made predictions; {cpu_name()}", _COLUMNS, measured(), as_json)


def draw_growth(rows: Sequence[Row], file: Path) -> None:
    """Draw the seconds of both evaluations against the images, a panel a dataset."""
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure((0.6 + 3.2 * len(names), 2.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        own = sorted((row for row in rows if row["dataset"] == name), key=lambda row: row["images"])
        images = [row["images"] for row in own]
        for what, style, label in (
            ("", "o-", "everything a record holds"),
            ("official_", "s--", "xtcocotools"),
        ):
            axes.plot(images, [row[f"{what}seconds"] for row in own], style, label=label)
        axes.set(title=dataset(name).title, xlabel="images", xlim=(0, None), ylim=(0, None))
    figure.axes[0].set_ylabel("seconds of the processor")
    figure.axes[0].legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def measure(name: str, factor: float) -> Row:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        _apart(make, name, folder, factor)
        ours, theirs = (_apart(_timed, run, name, folder) for run in (_ours, _theirs))
    size = SIZES[name]
    apart = [_apart_by(ours["found"][metric], value) for metric, value in theirs["found"].items()]
    return {
        "dataset": name,
        "images": round(size.images * factor),
        "detections": round(size.detections * factor),
        **{what: ours[what] for what in ("seconds", "memory_gb")},
        **{f"official_{what}": theirs[what] for what in ("seconds", "memory_gb")},
        "times_official": ours["seconds"] / theirs["seconds"],
        "ap": theirs["found"]["AP"],
        "difference": max(apart),
    }


def _apart(run: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(run, *arguments).result()


def _apart_by(ours: float | None, theirs: float) -> float:
    """Nothing between two numbers that are both undefined; one alone is as far off as can be."""
    if ours is None or math.isnan(theirs):
        return 0.0 if ours is None and math.isnan(theirs) else 1.0
    return abs(ours - theirs)


def _timed(run: Callable[[str, str], dict[str, float]], name: str, folder: str) -> Row:
    started = time.process_time()
    found = run(name, folder)
    seconds = time.process_time() - started
    try:  # the peak of this process; getrusage gives that of its parent where that is larger
        peak: float | None = proc_bytes("self/status", "VmHWM") / 2**30
    except (OSError, KeyError):  # not every container has it
        peak = None
    return {"seconds": seconds, "memory_gb": peak, "found": found}


def _ours(name: str, folder: str) -> dict[str, float]:
    return evaluate(name, Path(folder, "predictions.npz"), folder)["metrics"]


def _theirs(name: str, folder: str) -> dict[str, float]:
    known = dataset(name)
    results = json.loads(Path(folder, "results.json").read_bytes())
    evaluators = official.match(known, results, Path(folder, known.annotations["val"]))
    return official.summarise(known, evaluators)


def make(name: str, folder: str, factor: float = 1.0, seed: int = 0) -> None:
    """Write annotations, predictions and what NMS leaves of them, for the official evaluator, to a folder.

    Persons have random poses; nine in ten are detected well, the other detections are near persons or at
    random places. What is predicted near a person is its pose with noise.
    """
    rng, known, size = np.random.default_rng(seed), dataset(name), SIZES[name]
    images, persons, detections = (
        round(each * factor) for each in (size.images, size.persons, size.detections)
    )
    joints = len(known.keypoints)
    inhabited = np.flatnonzero(rng.random(images) >= size.empty)
    # Few images hold many persons.
    crowdedness = rng.gamma(2.0, size=len(inhabited))
    image = np.sort(rng.choice(inhabited, persons, p=crowdedness / crowdedness.sum()))
    height = np.clip(np.exp(rng.normal(4.6, 0.8, persons)), 12, _HEIGHT - 10)
    sides = np.stack([np.clip(height * rng.uniform(0.3, 0.9, persons), 8, _WIDTH - 10), height], axis=1)
    corner = rng.random((persons, 2)) * ([_WIDTH, _HEIGHT] - sides)
    box = np.concatenate([corner, sides], axis=1).round(2)
    middle = rng.uniform(0.1, 0.9, (joints, 2))

    def poses(boxes: np.ndarray) -> np.ndarray:
        places = np.clip(middle + rng.normal(0, 0.08, (len(boxes), joints, 2)), 0, 1)
        return boxes[:, None, :2] + places * boxes[:, None, 2:]

    truth = poses(box)
    flags = rng.choice([0, 1, 2], (persons, joints), p=[0.3, 0.1, 0.6])
    flags[rng.random(persons) < size.unlabelled] = 0
    area = (box[:, 2:].prod(axis=1) * rng.uniform(0.4, 0.7, persons)).round(3)
    triplets = np.concatenate([np.where(flags[..., None] > 0, truth.round(2), 0), flags[..., None]], axis=2)
    counts = (flags[:, : known.keypoints.body] > (1 if known.crowded else 0)).sum(axis=1)
    entries = [
        {
            "id": row + 1, "image_id": int(image[row]) + 1, "category_id": 1, "iscrowd": 0,
            "bbox": box[row].tolist(), "num_keypoints": int(counts[row]), "area": float(area[row]),
            **{field: triplets[row, at].ravel().tolist() for field, at in known.keypoints.fields.items()},
        }
        for row in range(persons)
    ]  # fmt: skip
    shape = {"width": _WIDTH, "height": _HEIGHT}
    listed = [
        {"id": at + 1, "file_name": f"{at + 1}.jpg", **shape, "crowdIndex": at % 10 / 9}
        for at in range(images)
    ]
    category = {
        "id": 1,
        "name": "person",
        "keypoints": list(known.keypoints.names[: known.keypoints.body]),
        "skeleton": [],
    }
    path = Path(folder, known.annotations["val"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": listed, "annotations": entries, "categories": [category]}))

    good = np.flatnonzero(rng.random(persons) < 0.93)[:detections]
    near = rng.choice(persons, (detections - len(good)) // 2)
    of_person = np.concatenate([good, near])
    jitter = np.repeat([0.04, 0.18], [len(good), len(near)])[:, None]
    around = box[of_person] + rng.normal(0, 1, (len(of_person), 4)) * jitter * np.tile(box[of_person, 2:], 2)
    others = detections - len(of_person)
    anywhere = np.concatenate(
        [rng.random((others, 2)) * [500, 350], rng.uniform(10, 130, (others, 2))], axis=1
    )
    found = np.concatenate([np.maximum(around, [-50, -50, 4, 4]), anywhere])
    labelled = np.flatnonzero(counts > 0)
    rows = np.concatenate([labelled, of_person, np.full(others, -1)])
    boxes = np.concatenate([box[labelled], found])
    where = np.concatenate([image[labelled], image[of_person], rng.integers(0, images, others)])
    scores = [np.ones(len(labelled)), rng.beta(8, 1.3, len(good)), rng.beta(1, 12, len(near) + others)]
    # Poor boxes make poor poses.
    noise = rng.gamma(1.6, 0.33, (len(rows), joints)) * rng.uniform(0.6, 1.4, (len(rows), 1))
    noise[len(labelled) + len(good) :] *= 1.5
    reach = noise * np.sqrt(area[rows])[:, None] * known.keypoints.falloff
    on = rows[:, None] >= 0
    moved = truth[rows] + rng.normal(size=(len(rows), joints, 2)) * reach[..., None]
    told = np.where(on, np.exp(-0.9 * noise) * rng.beta(9, 2, on.shape), rng.beta(1.2, 6, noise.shape))
    predictions = Predictions(
        image_id=where + 1,
        annotation_id=np.concatenate([labelled + 1, np.full(detections, -1)]),
        box=boxes,
        area=1.25**2 * boxes[:, 2:].prod(axis=1),
        box_score=np.concatenate(scores),
        keypoints=np.where(on[..., None], moved, poses(boxes)),
        confidence=told,
        protocol={"dataset": name, "split": "val"},
    )
    predictions.save(Path(folder, "predictions.npz"))
    kept = official.results(known, *official.suppressed(predictions, known))
    Path(folder, "results.json").write_text(json.dumps(kept))
