"""Fingerprints: what a result depends on, as hashes that decide whether it must be made again."""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.config import SEEDED, ChosenLoss, GridConfig

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
    """The project's files that modules (``rspose.training.train``) import, directly or not, and their own.

    Read from the code, not from what is loaded, so that a job's fingerprint needs none of its packages.
    Imports within functions count, those for type checkers do not. A package whose ``__init__`` only gives
    names on is looked through: of it, only the files of the names that are taken count.
    """
    found: dict[str, Path] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in found or (path := _file(name)) is None:
            continue
        found[name] = path
        packages = accumulate(name.split(".")[:-1], "{}.{}".format)
        pending += [*_imports(path), *(each for each in packages if _given_on(each) is None)]
    return set(found.values())


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "rspose"


def _file(module: str) -> Path | None:
    path = _ROOT.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file.resolve() for file in candidates if file.is_file()), None)


@cache
def _nodes(path: Path) -> list[ast.AST]:
    """The syntax of a file, the module first, without what is for type checkers."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in nodes:  # which grows meanwhile
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        nodes += () if for_types else ast.iter_child_nodes(node)
    return nodes


@cache
def _imports(path: Path) -> list[str]:
    """The modules of the project that a file imports."""
    found: list[str] = []
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            found += [_origin(node.module, alias.name) for alias in node.names]
    return list(filter(_is_ours, found))


@cache
def _given_on(package: str) -> dict[str, tuple[str, str]] | None:
    """The names that a package gives on, with module and name there; None where it does anything else."""
    path = _file(package)
    if path is None or path.name != "__init__.py":
        return None
    names: dict[str, tuple[str, str]] = {}
    for node in ast.iter_child_nodes(_nodes(path)[0]):
        match node:
            case ast.ImportFrom():
                names |= {each.asname or each.name: (str(node.module), each.name) for each in node.names}
            case ast.Assign() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                return None
    return names


def _origin(module: str, name: str) -> str:
    """The module that ``from module import name`` takes the name from."""
    if _file(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    given_on = _given_on(module) or {}
    return _origin(*given_on[name]) if name in given_on else module


def loss_sources(loss: str) -> set[Path]:
    """The files of a registered loss: its own and those of the project that it imports.

    For a loss of an installed package, every Python file of the package.
    """
    from rspose.losses import available  # torch comes with it, which the rules for tables do without

    module = available()[loss].__module__
    if _is_ours(module):
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
    of_tables = {"metrics", "measured", "main_metric", "release"}
    return {
        each.name: repr(getattr(known, each.name)) for each in fields(known) if each.name not in of_tables
    }


def generator_version(name: str) -> str:
    """Changes when the pictures of a dataset have to be drawn again."""
    return sha256_of([dataset_settings(name), sha256_of_modules("rspose.drawn.generate")])[:16]


def cell_settings(config: GridConfig, cell: Cell) -> dict[str, Any]:
    """The part of a config that decides the weights of a trained cell, and nothing else.

    How many processes load the data and where the checkpoints go change no weight. Of real data the ``root``
    that the config names counts, wherever RSPOSE_DATA moves it.
    """
    settings = config.model_settings[cell.model]
    chosen = config.training_of(cell)
    no_effect = {"workers", "cache_images", "device", "head_learning_rate"}
    if chosen.devices == 1:  # of several, each has a part of the batch, and its statistics
        no_effect.add("devices")
    if set(chosen.seeds_vary) == set(SEEDED):  # as before there was a choice
        no_effect.add("seeds_vary")
    training = chosen.model_dump(mode="json", exclude=no_effect)
    training["learning_rate"] = chosen.scaled_learning_rate
    training.get("seeds_vary", []).sort()
    loss = config.loss_of(cell.loss, cell.head)
    data = config.data[cell.dataset].model_dump(mode="json")
    initial_weights = settings.initial_weights
    return {
        "cell": [cell.dataset, cell.model, cell.head, cell.loss, cell.seed],
        "dataset": dataset_settings(cell.dataset),
        "data": [data["generate"] or data["root"], data["least_keypoints"]],
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
        "loss": {key: value for key, value in asdict(loss).items() if key != "title"},
        "order": list(loss.parameters["parts"]) if loss.loss == "sum" else [],  # the first one is the base
        "training": training,
    }


def training_fingerprint(config: GridConfig, cell: Cell) -> str:
    """Changes when, and only when, the cell has to be trained again."""
    return sha256_of([cell_settings(config, cell), code_sha256(config.loss_of(cell.loss, cell.head))])


def initial_weights_dataset(config: GridConfig, model: str) -> str:
    """Whose figures the initial weights of a model are trained on: the same whatever the grid leaves out."""
    return next(name for name in config.model_settings[model].input_size if name in config.data)


def initial_weights_fingerprint(config: GridConfig, model: str) -> str:
    """Changes when initial weights have to be trained again: not with the labels or the 1D head."""
    of_heads = {"base", "head_overrides"}
    no_effect = {"sigma", "training", "dataset_training", *of_heads}
    settings = config.model_settings[model].model_dump(mode="json", exclude=no_effect)
    settings |= {key: getattr(config.model_settings[model], key).get("heatmap") for key in of_heads}
    dataset = initial_weights_dataset(config, model)
    precision = config.training_of(Cell(dataset, model, "heatmap", config.losses[0], 0)).precision
    code = sha256_of_modules("rspose.training.initial_weights")
    return sha256_of([settings, dataset_settings(dataset), precision, code])


def code_sha256(loss: ChosenLoss) -> str:
    """Hash of the sources that a cell with a loss depends on."""
    return sha256_of_sources([*sources(*_TRAINING), *sources_of_settings(loss)])


def sources_of_settings(loss: ChosenLoss) -> set[Path]:
    """The files of a loss of the grid."""
    # The parts of a sum are looked up by name: no import says so.
    parts = loss.parameters["parts"] if loss.loss == "sum" else {}
    return {file for name in (loss.loss, *parts) for file in loss_sources(name)}
