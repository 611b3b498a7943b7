"""Losses by name: a loss file in ``baselines/`` (or in a folder of one's own) is all it takes to add one."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rspose.losses.interface import HeatmapLoss

_losses: dict[str, type[HeatmapLoss]] = {}
_discovered: set[Path] = set()

LossClass = TypeVar("LossClass", bound=type[HeatmapLoss])


def register(loss: LossClass) -> LossClass:
    """Make a loss known under its ``name`` (class decorator).

    Raises:
        TypeError: the class is no :class:`HeatmapLoss`, or lacks one of its class variables.
        ValueError: the name is taken.
    """
    if not (isinstance(loss, type) and issubclass(loss, HeatmapLoss)):
        raise TypeError(f"register: expected a subclass of HeatmapLoss, found {loss!r}")
    for variable in ("name", "title", "reference"):
        if not isinstance(getattr(loss, variable, None), str):
            raise TypeError(
                f"loss class {loss.__name__}: class variable {variable!r}: expected a string, found none"
            )
    taken = _losses.setdefault(loss.name, loss)
    if taken is not loss:
        raise ValueError(
            f"loss name {loss.name!r} is taken by {taken.__module__}.{taken.__qualname__}: "
            f"give {loss.__module__}.{loss.__qualname__} another name"
        )
    return loss


def discover(folder: Path) -> None:
    """Import every loss file (``*.py`` without leading underscore) of a folder, so that its losses register.

    A file that is imported already is left alone.

    Raises:
        NotADirectoryError: there is no such folder.
        ImportError: a file cannot be imported; the message names it and says why.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"loss folder {folder}: no such folder")
    new = [path for path in sorted(folder.glob("[!_]*.py")) if path not in _discovered]
    if not new:
        return
    imported = {
        str(Path(file).resolve())
        for m in list(sys.modules.values())
        if (file := getattr(m, "__file__", None))
    }
    for path in new:
        if str(path) not in imported:
            _import(path, folder)
        _discovered.add(path)


def _import(path: Path, folder: Path) -> None:
    try:
        if folder == _baselines():
            importlib.import_module(f"baselines.{path.stem}")
        else:
            _import_file(path)
    except Exception as error:
        raise ImportError(f"loss file {path}: cannot be imported: {type(error).__name__}: {error}") from error


def available() -> dict[str, type[HeatmapLoss]]:
    """Return every known loss by name, those of the installed ``baselines`` among them."""
    baselines = _baselines()
    if baselines is not None:
        discover(baselines)
    return dict(sorted(_losses.items()))


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of a loss that can be set, with their defaults.

    Raises:
        ValueError: there is no such loss.
    """
    return {
        parameter.name: parameter.default
        for parameter in _constructor_parameters(_find(name))
        if parameter.name != "num_keypoints"
    }


def build(name: str, parameters: Mapping[str, Any], num_keypoints: int) -> HeatmapLoss:
    """Make a loss.

    Args:
        name: its registered name.
        parameters: what differs from the defaults.
        num_keypoints: number of keypoints of the dataset, for the losses that learn something per keypoint.

    Raises:
        ValueError: there is no such loss or parameter, or the loss rejects a value.
    """
    loss = _find(name)
    names = [parameter.name for parameter in _constructor_parameters(loss)]
    allowed = [parameter for parameter in names if parameter != "num_keypoints"]
    for parameter in parameters:
        if parameter not in allowed:
            expected = f"one of {', '.join(allowed)}" if allowed else "none: this loss has no parameters"
            raise ValueError(f"{name} loss: unknown parameter {parameter!r}: expected {expected}")
    passed = {"num_keypoints": num_keypoints} if "num_keypoints" in names else {}
    return loss(**passed, **parameters)


def _find(name: str) -> type[HeatmapLoss]:
    losses = available()
    if name not in losses:
        raise ValueError(f"unknown loss {name!r}: expected one of {', '.join(losses)}")
    return losses[name]


def _constructor_parameters(loss: type[HeatmapLoss]) -> list[inspect.Parameter]:
    if loss.__init__ is HeatmapLoss.__init__:  # nn.Module's: no parameters of the loss's own
        return []
    return [parameter for parameter in inspect.signature(loss).parameters.values()]


def _baselines() -> Path | None:
    spec = importlib.util.find_spec("baselines")
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))).resolve() if locations else None


def _import_file(path: Path) -> None:
    module_name = (
        f"{path.parent.name}.{path.stem} ({path})"  # unique, so that two folders may hold files of one name
    )
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None  # a path that ends in .py always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
