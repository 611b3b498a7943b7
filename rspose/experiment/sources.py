"""Fingerprints: what a result depends on, as hashes that decide whether it must be made again."""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rspose.experiment.cell import Cell
from rspose.experiment.config import loss_settings, scaled_learning_rate, training_settings

_PACKAGE = Path(__file__).parents[1]
_PROJECT = ("rspose", "baselines")
TRAINING_SOURCES = (
    *sorted((_PACKAGE / "pose").glob("*.py")),
    *(
        _PACKAGE / "experiment" / name
        for name in (
            "checkpoints.py",
            "compose.py",
            "datasets.py",
            "mmpose_configs.py",
            "train.py",
            "train_process.py",
        )
    ),
    _PACKAGE / "keypoints.py",
)
PREDICTION_SOURCES = (*sorted((_PACKAGE / "pose").glob("*.py")), _PACKAGE / "experiment" / "predict.py")
EVALUATION_SOURCES = tuple(sorted((_PACKAGE / "evaluation").glob("*.py")))
REPORTING_SOURCES = tuple(sorted((_PACKAGE / "reporting").glob("*.py")))
REPORT_SOURCES = (
    *REPORTING_SOURCES,
    *sorted((_PACKAGE / "reporting" / "report").glob("*.py")),
    *sorted((_PACKAGE / "reporting" / "report" / "assets").glob("*")),
)
INITIAL_WEIGHTS_SOURCES = (
    *sorted((_PACKAGE / "data").glob("*.py")),
    *(_PACKAGE / "experiment" / name for name in ("compose.py", "initial_weights.py", "mmpose_configs.py")),
)
LOCALISATION_SOURCES = (
    _PACKAGE / "losses" / "localisation.py",
    _PACKAGE / "experiment" / "localisation.py",
)


def sha256_of(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_of_sources(files: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of source files."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def loss_sources(loss: str) -> set[Path]:
    """The files that define a registered loss.

    Its own and those of the project that it takes names from; for a loss of an installed package, every
    Python file of the package.
    """
    from rspose.losses import available  # torch comes with it, which the rules for tables do without

    own = available()[loss].__module__
    package = own.split(".")[0]
    files: set[Path] = set()
    if package not in _PROJECT and getattr(sys.modules.get(package), "__path__", None):
        files.update(file for folder in sys.modules[package].__path__ for file in Path(folder).rglob("*.py"))
    pending = [own]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for value in vars(sys.modules[name]).values():
            origin = getattr(value, "__module__", None)
            if isinstance(origin, str) and origin.split(".")[0] in (*_PROJECT, package):
                pending.append(origin)
    files.update(Path(file) for name in seen if (file := sys.modules[name].__file__) is not None)
    return files


def cell_settings(config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """The part of a config that decides the weights of a trained cell, and nothing else.

    Where the data lies, how many processes load it and where the checkpoints go change no weight.
    """
    settings = config["model_settings"][cell.model]
    chosen = training_settings(config, cell)
    no_effect = ["workers", "cache_images", "device", "base_batch_size"]
    if chosen["devices"] == 1:  # of several, each has a part of the batch, and its statistics
        no_effect.append("devices")
    training = {key: value for key, value in chosen.items() if key not in no_effect}
    training["learning_rate"] = scaled_learning_rate(chosen)
    sigma = settings["sigma"][cell.head]
    return {
        "cell": [cell.dataset, cell.model, cell.head, cell.loss, cell.seed],
        "data": config["data"][cell.dataset].get("generate", config["data"][cell.dataset]["root"]),
        "model": {
            "base": settings["base"][cell.head],
            "backbone": settings.get("backbone"),
            "pretrained": settings.get("pretrained"),
            "input_size": settings["input_size"][cell.dataset],
            "sigma": sigma[cell.dataset] if isinstance(sigma, dict) else sigma,
            "stride": settings["stride"],
            "overrides": [settings["overrides"], settings["head_overrides"].get(cell.head, {})],
            "initial_weights": settings.get("initial_weights"),
        },
        "loss": loss_settings(config, cell.loss, cell.head),
        "training": training,
    }


def training_fingerprint(config: dict[str, Any], cell: Cell) -> str:
    """Changes when, and only when, the cell has to be trained again."""
    return sha256_of([cell_settings(config, cell), code_sha256(loss_settings(config, cell.loss, cell.head))])


def initial_weights_fingerprint(config: dict[str, Any], model: str) -> str:
    """Changes when the initial weights of a model have to be trained again."""
    return sha256_of([config["model_settings"][model], sha256_of_sources(INITIAL_WEIGHTS_SOURCES)])


def localisation_fingerprint(config: dict[str, Any]) -> str:
    """Changes when a loss of the grid, its settings, or the maps it is shown change."""
    from rspose.experiment.localisation import losses_and_heads

    pairs = losses_and_heads(config)
    settings = [loss_settings(config, loss, head) for loss, head in pairs]
    files = {file for each in settings for file in _sources_of(each)}
    for each in settings:
        del each["learning_rate_factor"]  # nothing is trained
    return sha256_of([pairs, settings, sha256_of_sources({*files, *LOCALISATION_SOURCES})])


def code_sha256(loss: dict[str, Any]) -> str:
    """Hash of the sources that a cell depends on whose loss has the settings ``loss``."""
    return sha256_of_sources([*TRAINING_SOURCES, *_sources_of(loss)])


def _sources_of(loss: dict[str, Any]) -> set[Path]:
    # RSPose can be added to another loss, which it looks up by name: no import says so.
    added_to = loss["parameters"].get("added_to")
    return loss_sources(loss["loss"]) | (loss_sources(added_to) if added_to else set())
