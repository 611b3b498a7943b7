"""Records as files, the drawings that belong to them, and what is made of them."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets.coco import COCO
from rspose.evaluation.resampling import summary
from rspose.grid.cell import Cell
from rspose.grid.record import read_record
from rspose.reporting.figures import Entry

COCO_METRICS = {"AP": 0.4512, "AP50": 0.7, "AP75": 0.5, "APM": 0.4, "APL": 0.5, "AR": 0.55}
CROWDPOSE_METRICS = {"AP": 0.51, "AP50": 0.8, "AP75": 0.55, "APE": 0.6, "APM": 0.5, "APH": 0.3, "AR": 0.6}
MPII_METRICS = {
    "PCKh": 0.812,
    "PCKh_head": 0.951,
    "PCKh_shoulder": 0.94,
    "PCKh_elbow": 0.83,
    "PCKh_wrist": 0.74,
    "PCKh_hip": 0.82,
    "PCKh_knee": 0.73,
    "PCKh_ankle": 0.62,
    "PCKh@0.1": 0.211,
}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
CURVE = {
    "iteration": list(range(0, 500, 10)),
    "loss": [1.5] * 50,
    "loss_rank": [1.0] * 50,
    "loss_sort": [0.5] * 50,
}
WIDTH, HEIGHT = 48, 64
# From image to crop: half the size, then 10 to the left and 20 up.
MATRIX = np.array([[0.5, 0.0, -10.0], [0.0, 0.5, -20.0]], dtype=np.float32)
GREY = 128


def record(
    dataset: str = "coco",
    loss: str = "mse",
    head: str = "heatmap",
    seed: int = 0,
    model: str = "tiny",
    *,
    title: str | None = None,
    metrics: dict[str, float | None] | None = None,
    correlations: tuple[float | None, ...] = (0.31, 0.22, 0.41, 0.32),
    reconstruction: bool = False,
    control: bool = False,
    **changes: dict[str, Any],
) -> dict[str, Any]:
    """A complete record; ``changes`` update one of its objects, such as ``protocol={"flip_test": True}``."""
    keypoint = {"spearman": correlations[0], "kendall": correlations[1], "n": 5120}
    pose = {"spearman": correlations[2], "kendall": correlations[3], "n": 980}
    content: dict[str, Any] = {
        "format": 2,
        "cell": {"dataset": dataset, "model": model, "head": head, "loss": loss, "seed": seed},
        "control": control,
        "loss": {
            "title": title or loss.upper(),
            "reference": "a paper",
            "reconstruction": reconstruction,
            "parameters": {"beta": 1.0, "alpha": 2},
        },
        "metrics": COCO_METRICS if metrics is None else metrics,
        "confidence": {"keypoint": keypoint, "pose": pose},
        "protocol": {
            "dataset": dataset,
            "split": "val",
            "flip_test": False,
            "detection_file": None if dataset == "mpii" else "person_detection_results/boxes_56.json",
            "input_size": [96, 128],
            "score_mode": "bbox_keypoint",
            "keypoint_score_threshold": 0.2,
            "nms": "oks",
            "nms_threshold": 0.9,
            "evaluator": "xtcocotools 1.14.3",
        },
        "data": {"generated": True, "checksum": "abc", "train_instances": 4000, "val_instances": 900},
        "training": {"iterations": 600, "batch_size": 32, "resumed": False, "final_loss": {"mse": 0.1}},
        "provenance": {"config_sha256": "c", "versions": {"torch": "2.11.0"}, "device": "cpu"},
    }
    if control:
        content["cell"] |= {"model": "control", "head": "control"}
        content["training"] = None
    for name, change in changes.items():
        content[name] |= change
    return content


def with_bootstrap(
    content: dict[str, Any], values: dict[str, np.ndarray], images: int = 200
) -> dict[str, Any]:
    """The record with replicates over images of some of its scores."""
    return {**content, "bootstrap": summary(values, {}, images)}


def three_losses(root: Path, *datasets: str, seeds: int, **described: Any) -> None:
    """Records of MSE, KL and a reconstruction on two heads, each with a bootstrap."""
    rng = np.random.default_rng(0)
    losses = {"mse": 0.30, "kl": 0.45, "rspose": 0.40}
    for dataset, head, loss, seed in itertools.product(datasets, ("heatmap", "simcc"), losses, range(seeds)):
        value = losses[loss] + 0.0001 * seed
        metrics = {"PCKh": value} if dataset == "mpii" else {**COCO_METRICS, "AP": value}
        known = {"metrics": metrics, "reconstruction": loss == "rspose", **described}
        content = {**record(dataset, loss, head, seed, **known), "grid": "demo"}
        values = {f"metrics.{name}": rng.normal(of_all, 0.01, 50) for name, of_all in metrics.items()}
        write(root, with_bootstrap(content, values))


def fail(root: Path, loss: str, seed: int, rule: str, error: str) -> Path:
    """Write what a failed cell leaves."""
    content = {"format": 2, "cell": record(loss=loss, seed=seed)["cell"]}
    content["failed"] = {"rule": rule, "error": error, "log": "somewhere.log"}
    path = root / "coco" / "tiny" / "heatmap" / loss / f"seed{seed}.failed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write(root: Path, content: dict[str, Any]) -> Path:
    """Write ``content`` where its cell belongs under ``root``."""
    path = root / f"{Cell(**content['cell']).path}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def samples(count: int = 3, keypoints: int = len(COCO.keypoints)) -> dict[str, np.ndarray]:
    """Grey crops without any annotated keypoint, and heatmaps that are 0 everywhere."""
    return {
        "image_path": np.array([f"val2017/{i:012d}.jpg" for i in range(count)]),
        "box_index": np.arange(count, dtype=np.int64) + 1,
        "heatmap": np.zeros((count, keypoints, 16, 12), dtype=np.float16),
        "crop": np.full((count, HEIGHT, WIDTH, 3), GREY, dtype=np.uint8),
        "truth_keypoints": np.zeros((count, keypoints, 3), dtype=np.float32),
        "crop_matrix": np.repeat(MATRIX[None], count, axis=0),
    }


def predictions(count: int = 4, keypoints: int = len(COCO.keypoints)) -> dict[str, np.ndarray]:
    """Keypoints far outside every crop, without confidence."""
    return {
        "keypoints": np.full((count, keypoints, 2), -1000.0, dtype=np.float32),
        "confidence": np.zeros((count, keypoints), dtype=np.float32),
    }


def saved(folder: Path, drawn: dict[str, Any], predicted: dict[str, Any], **described: Any) -> Entry:
    """Save both files, and the record of their cell as :func:`record` describes it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "samples.npz", **drawn)
    np.savez_compressed(folder / "predictions.npz", **predicted)
    told = read_record(write(folder, record(**described)))
    return Entry(told, folder / "predictions.npz", folder / "samples.npz")


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of the one Markdown table in ``text``, by header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def localised(loss: str, head: str, tolerated: float) -> dict[str, Any]:
    path = {"errors": [0.0, 1.5, 3.0], "values": [1.0, 0.5, 2.0], "tolerated_error": tolerated}
    paths = {"blurred": path, "split": path, "background": path}
    return {
        "loss": loss,
        "title": loss.upper(),
        "reconstruction": loss == "rspose",
        "head": head,
        "paths": {"shifted": {**path, "values": [0.0, 1.0, 2.0], "tolerated_error": 0.0}, **paths},
    }


LOCALISATION = {
    "largest_error": 3.0,
    "losses": [
        localised("mse", "heatmap", 1.04),
        localised("rspose", "heatmap", 0.26),
        localised("mse", "simcc", 0.5),
    ],
}


def studied(loss: str = "mse", **arguments: Any) -> dict[str, Any]:
    """A record with all that the figures draw; numbers vary with the loss and the seed."""
    dataset, seed = arguments.get("dataset", "coco"), arguments.get("seed", 0)
    shift = 0.01 * (sum(map(ord, loss)) % 9) + 0.005 * seed
    metrics = {"AP": 0.4 + shift} if dataset == "coco" else {"PCKh": 0.7 + shift}
    content = record(loss=loss, **{"metrics": metrics, **arguments})
    bins = np.linspace(0.025, 0.975, 20)
    curve = {
        "confidence": bins.tolist(),
        "quality": (bins**2 + shift).clip(0, 1).tolist(),
        "count": [40] * 20,
    }
    content["confidence"]["calibration"] = {"keypoint": curve, "pose": curve}
    for level in ("keypoint", "pose"):
        content["confidence"][level]["pearson"] = 0.3 + shift
    errors = {"good": 0.55, "jitter": 0.2, "inversion": 0.1, "swap": 0.05, "miss": 0.1, "keypoints": 4000}
    gain = {"jitter": 0.03, "inversion": 0.02 + shift, "swap": 0.01, "miss": 0.05, "all": 0.12}
    content["diagnosis"] = {"errors": {**errors, "gain": gain}}
    if dataset != "mpii":
        content["diagnosis"]["ordering"] = {"AP_oracle_scores": 0.46 + shift, "AP_lost": 0.06}
        content["diagnosis"]["thresholds"] = {
            name: {"threshold": x, "AP": [0.4 + shift, 0.41, 0.42], "AP_box_score": [0.3, 0.31, 0.32 + shift]}
            for name, x in (("nms", [0.5, 0.9, 1.0]), ("keypoint_score", [0.0, 0.2, 0.9]))
        }
    content["training"]["curve"] = {"iteration": [10, 20, 30], "loss": [1.0 + shift, 0.6, 0.5]}
    content["training"]["seconds_per_iteration"] = 0.08 + shift
    return content


LOSSES = ("mse", "kl", "awing", "wahr", "fwahr", "heuristic", "kal", "fowkal", "dm", "rspose", "my_own_loss")


def crowded(losses: Sequence[str] = LOSSES, models: Sequence[str] = ("tiny",)) -> list[dict[str, Any]]:
    contents = []
    for loss, head, model in itertools.product(losses, ("heatmap", "simcc"), models):
        content = studied(loss, head=head, model=model, reconstruction=loss in ("fowkal", "dm", "rspose"))
        if loss in ("kal", "fowkal"):
            content["loss"]["learned"] = {"factor": [0.1 + 0.01 * k for k in range(17)]}
        contents.append(content)
    return contents
