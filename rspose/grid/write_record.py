"""The record of a finished cell: what was measured, and everything that says how far to trust it."""

import hashlib
import json
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.files import write_json

RECORD_FORMAT = 1
PACKAGES = (
    "torch",
    "torchvision",
    "mmpose",
    "onedl-mmengine",
    "mmcv-lite",
    "numpy",
    "xtcocotools",
    "opencv-python-headless",
)
CONTROLS = {
    "oracle": ("Oracle keypoints", "the annotated keypoints of the person that each box overlaps most"),
    "mean_pose": ("Mean pose", "the mean training pose, stretched into every box"),
}


def write_record(config: dict[str, Any], cell: Cell, scores: Path, training: Path, record: Path) -> None:
    """Write the record of a trained and evaluated cell.

    Args:
        config: A completed config; the workflow adds to it what it was given (``given``).
        cell: The cell.
        scores: What the evaluation wrote.
        training: What the training wrote: it knows the loss, so that records are made without torch.
        record: Where the record goes.
    """
    measured = json.loads(training.read_text())
    loss, provenance = measured.pop("loss"), measured.pop("provenance")
    train_instances = measured.pop("train_instances")
    _write(
        config,
        cell,
        scores,
        record,
        control=False,
        loss=loss,
        training=measured,
        train_instances=train_instances,
        provenance=provenance,
    )


def write_control_record(
    config: dict[str, Any], dataset: str, control: str, scores: Path, record: Path
) -> None:
    """Write the record of a control: ``oracle`` or ``mean_pose``."""
    title, reference = CONTROLS[control]
    _write(
        config,
        Cell(dataset, "control", "control", control, 0),
        scores,
        record,
        control=True,
        loss={"title": title, "reference": reference, "reconstruction": False, "parameters": {}},
        training=None,
        train_instances=None,
        provenance={"device": platform.processor() or "cpu"},
    )


def failure_note(config: dict[str, Any], cell: Cell) -> Path:
    """Where the note lies that a cell failed: beside the place of its record, which outdates it."""
    return Path(config["results"]) / "records" / f"{cell.path}.failed.json"


def write_failure(config: dict[str, Any], cell: Cell, rule: str, error: str, log: Path) -> None:
    """Note that a cell failed.

    Args:
        config: A completed config.
        cell: The cell.
        rule: The step that failed.
        error: Why.
        log: Where more about it is.
    """
    write_json(
        failure_note(config, cell),
        {
            "format": RECORD_FORMAT,
            "cell": asdict(cell),
            "failed": {"rule": rule, "error": " ".join(error.split()), "log": str(log)},
        },
    )


def _write(
    config: dict[str, Any],
    cell: Cell,
    scores: Path,
    record: Path,
    *,
    control: bool,
    loss: dict[str, Any],
    training: dict[str, Any] | None,
    train_instances: int | None,
    provenance: dict[str, Any],
) -> None:
    evaluated = json.loads(scores.read_text())
    write_json(
        record,
        {
            "format": RECORD_FORMAT,
            "grid": config["name"],
            **({"config": config["given"]} if "given" in config else {}),
            "cell": {
                "dataset": cell.dataset,
                "model": cell.model,
                "head": cell.head,
                "loss": cell.loss,
                "seed": cell.seed,
            },
            "control": control,
            "loss": loss,
            "metrics": evaluated["metrics"],
            "confidence": evaluated["confidence"],
            "diagnosis": evaluated["diagnosis"],
            "protocol": evaluated["protocol"],
            "bootstrap": evaluated["bootstrap"],
            "data": {
                **_data(Path(config["data"][cell.dataset]["root"]), config, cell),
                "train_instances": train_instances,
            },
            "training": training,
            "provenance": {
                **provenance,
                "git_commit": _git_commit(),
                "python": platform.python_version(),
                "versions": {name: _version(name) for name in PACKAGES},
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        },
    )


def _data(root: Path, config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    manifest = root / "manifest.json"
    generated = "generate" in config["data"][cell.dataset]
    if generated:
        files = json.loads(manifest.read_text())["files"]
        checksum = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    else:
        digest = hashlib.sha256()
        # Folders may be shared: COCO-WholeBody's annotations lie beside COCO's.
        for name in dataset(cell.dataset).files:
            digest.update((root / name).read_bytes())
        checksum = digest.hexdigest()
    return {"generated": generated, "checksum": checksum}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed.strip() else commit
