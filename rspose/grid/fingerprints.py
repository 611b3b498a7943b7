"""Fingerprints: what a result depends on, as hashes that decide whether it must be made again."""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.config import ChosenLoss, GridConfig

_PROJECT = "rspose"
_ROOT = Path(__file__).parents[2]
_TRAINING = ("rspose.training.train", "rspose.training.train_process")


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


def sha256_of_modules(*modules: str) -> str:
    """SHA-256 over the files of modules and of what they import from the project, see :func:`sources`."""
    return sha256_of_sources(sources(*modules))


def sources(*modules: str) -> set[Path]:
    """The project's files that modules import, directly or through others, and their own.

    Read from the code, not from what is loaded, so that a job's fingerprint needs none of its packages.
    Imports within functions count, those for type checkers do not. A package whose ``__init__`` only gives
    names on is looked through: of it, only the files of the names that are taken count.

    Args:
        modules: Names of modules of the project, ``rspose.training.train``.
    """
    found: dict[str, Path] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in found or (path := _file(name)) is None:
            continue
        found[name] = path
        pending += _imports(path)
        parents = name.split(".")[:-1]
        packages = [".".join(parents[:length]) for length in range(1, len(parents) + 1)]
        pending += [package for package in packages if not _gives_names_on(package)]
    return set(found.values())


def _file(module: str) -> Path | None:
    path = _ROOT.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file.resolve() for file in candidates if file.is_file()), None)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _gives_names_on(package: str) -> bool:
    def passive(node: ast.stmt) -> bool:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return is_docstring or isinstance(node, ast.ImportFrom | ast.Assign)

    path = _file(package)
    return path is not None and all(map(passive, _tree(path).body))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The modules of the project that a file imports."""
    for_types = {
        inner
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: list[str] = []
    for node in ast.walk(_tree(path)):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found += [_origin(node.module, alias.name) for alias in node.names]
    return tuple(name for name in found if name.split(".")[0] == _PROJECT)


def _origin(module: str, name: str) -> str:
    """The module that ``from module import name`` takes the name from."""
    if module.split(".")[0] != _PROJECT:
        return module
    if _file(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    path = _file(module)
    if path is not None and path.name == "__init__.py" and _gives_names_on(module):
        for node in _tree(path).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _origin(node.module, alias.name)
    return module


def loss_sources(loss: str) -> set[Path]:
    """The files that define a registered loss.

    Its own and those of the project that it imports; for a loss of an installed package, every Python file of
    the package.
    """
    from rspose.losses import available  # torch comes with it, which the rules for tables do without

    module = available()[loss].__module__
    if module.split(".")[0] == _PROJECT:
        return sources(module)
    package = module.split(".")[0]
    folders = getattr(sys.modules.get(package), "__path__", [])
    files = {file for folder in folders for file in Path(folder).rglob("*.py")}
    own = Path(str(sys.modules[module].__file__)).resolve()
    return {own, *files, *sources(*_imports(own))}


def dataset_settings(name: str) -> dict[str, str]:
    """What the project knows of a dataset, but for what only tables and downloads depend on.

    No import says which of the datasets a job needs, so their modules are in no fingerprint.
    """
    known = dataset(name)
    of_tables = {"metrics", "main_metric", "release"}
    return {
        each.name: repr(getattr(known, each.name)) for each in fields(known) if each.name not in of_tables
    }


def generator_version(name: str) -> str:
    """Changes when the pictures of a dataset have to be drawn again."""
    return sha256_of([dataset_settings(name), sha256_of_modules("rspose.drawn.generate")])[:16]


def cell_settings(config: GridConfig, cell: Cell) -> dict[str, Any]:
    """The part of a config that decides the weights of a trained cell, and nothing else.

    Where the data lies, how many processes load it and where the checkpoints go change no weight.
    """
    settings = config.model_settings[cell.model]
    chosen = config.training_of(cell)
    no_effect = {"workers", "cache_images", "device", "head_learning_rate"}
    if chosen.devices == 1:  # of several, each has a part of the batch, and its statistics
        no_effect.add("devices")
    training = chosen.model_dump(mode="json", exclude=no_effect)
    training["learning_rate"] = chosen.scaled_learning_rate
    loss = config.loss_of(cell.loss, cell.head)
    data = config.data[cell.dataset].model_dump(mode="json")
    initial_weights = settings.initial_weights
    return {
        "cell": [cell.dataset, cell.model, cell.head, cell.loss, cell.seed],
        "dataset": dataset_settings(cell.dataset),
        "data": data["generate"] or data["root"],
        "model": {
            "base": settings.base[cell.head],
            "backbone": settings.backbone,
            "pretrained": settings.pretrained,
            "input_size": settings.input_size[cell.dataset],
            "sigma": settings.sigma_of(cell.head, cell.dataset),
            "stride": settings.stride,
            "overrides": [settings.overrides, settings.head_overrides.get(cell.head, {})],
            "initial_weights": initial_weights and initial_weights.model_dump(),
        },
        "loss": asdict(loss),
        "order": list(loss.parameters["parts"]) if loss.loss == "sum" else [],  # the first one is the base
        "training": training,
    }


def training_fingerprint(config: GridConfig, cell: Cell) -> str:
    """Changes when, and only when, the cell has to be trained again."""
    return sha256_of([cell_settings(config, cell), code_sha256(config.loss_of(cell.loss, cell.head))])


def initial_weights_fingerprint(config: GridConfig, model: str) -> str:
    """Changes when the initial weights of a model have to be trained again."""
    return sha256_of(
        [
            config.model_settings[model].model_dump(mode="json"),
            sha256_of_modules("rspose.training.initial_weights"),
        ]
    )


def code_sha256(loss: ChosenLoss) -> str:
    """Hash of the sources that a cell depends on whose loss has the settings ``loss``."""
    return sha256_of_sources([*sources(*_TRAINING), *sources_of_settings(loss)])


def sources_of_settings(loss: ChosenLoss) -> set[Path]:
    """The files that define a loss with the settings ``loss``."""
    # The parts of a sum are looked up by name: no import says so.
    parts = loss.parameters["parts"] if loss.loss == "sum" else {}
    return {file for name in (loss.loss, *parts) for file in loss_sources(name)}
