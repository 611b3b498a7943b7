"""Losses by name: a loss file in ``baselines/`` is all it takes to add one."""

import importlib
import importlib.util
import inspect
import keyword
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from rspose.losses.interface import HEADS, HeatmapLoss

_losses: dict[str, type[HeatmapLoss]] = {}
_imported: dict[str, str | None] = {}
"""What was imported, loss files by path and entry points by name, and what failed of it, in one line."""
_unusable: dict[str, str] = {}
"""What could not be imported: the stem of the file, or the name that is taken twice, and why."""

ENTRY_POINTS = "rspose.losses"
"""Group of the entry points with which an installed package offers its losses."""

LossClass = TypeVar("LossClass", bound=type[HeatmapLoss])


class NameTaken(ValueError):
    """Two losses have one name; ``name`` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def register(loss: LossClass) -> LossClass:
    """Make a loss known under its ``name`` (class decorator).

    Raises:
        TypeError: the class is no :class:`HeatmapLoss`, or one of its class variables is missing or wrong.
        NameTaken: another loss has the name, or its class has: mmpose knows losses by their classes.
    """
    if not (isinstance(loss, type) and issubclass(loss, HeatmapLoss)):
        raise TypeError(f"register: expected a subclass of HeatmapLoss, found {loss!r}")

    def wrong(variable: str, problem: str) -> TypeError:
        return TypeError(f"loss class {loss.__name__}: class variable {variable!r}: {problem}")

    for variable in ("name", "title", "reference"):
        if not isinstance(getattr(loss, variable, None), str):
            raise wrong(variable, "expected a string, found none")
    if problem := name_problem(loss.name):
        raise wrong("name", problem)
    if not (isinstance(loss.heads, tuple) and loss.heads and set(loss.heads) <= set(HEADS)):
        expected = "a tuple of 'heatmap' and 'simcc' (one alone: ('simcc',))"
        raise wrong("heads", f"expected {expected}, found {loss.heads!r}")
    most = 2
    if len(loss.tunable) > most:
        raise wrong("tunable", f"expected at most {most}, found {len(loss.tunable)}")
    for parameter, lowest, highest, log in loss.tunable:
        if parameter not in _arguments(loss):
            raise wrong("tunable", f"the loss has no parameter {parameter!r}")
        if not (lowest < highest and (lowest > 0 or not log)):
            expected = "lowest < highest, and on a logarithmic scale above 0"
            raise wrong("tunable", f"{parameter}: expected {expected}, found {lowest} and {highest}")
    for other in _losses.values():
        if other.__name__ == loss.__name__ and other.name not in (loss.name, *_unusable):
            raise NameTaken(
                loss.name,
                f"class name {loss.__name__!r} of the loss {loss.name!r} is taken by {other.__module__}, the "
                f"loss {other.name!r}: give the class another name",
            )
    taken = _losses.setdefault(loss.name, loss)
    if taken is not loss:
        raise NameTaken(
            loss.name,
            f"loss name {loss.name!r} is taken by {taken.__module__}.{taken.__qualname__}: "
            f"give {loss.__module__}.{loss.__qualname__} another name",
        )
    return loss


def name_problem(name: str) -> str | None:
    """What keeps a text from being the name of a loss, in words; None if nothing does."""
    if name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_"):
        return None
    return f"expected letters, digits and underscores, a letter first (like my_loss), found {name!r}"


def load(source: str) -> None:
    """Import losses from outside the project, so that they register; a second time changes nothing.

    Args:
        source: a path that ends in ``.py``, or the name of an entry point of the group ``rspose.losses``.

    Raises:
        ValueError: there is no such file or entry point, in one line.
        ImportError: it cannot be imported; the message names it and says why, in one line.
    """
    if source.endswith(".py"):
        path = Path(source).resolve()
        if not path.is_file():
            raise ValueError(f"loss file {source}: no such file in {Path.cwd()}")
        failure = _import_file(path)
    else:
        installed = entry_points(group=ENTRY_POINTS)
        if source not in installed.names:
            names = ", ".join(sorted(installed.names))
            raise ValueError(
                f"losses from {source!r}: expected a path that ends in .py, or an entry point of the group "
                f"{ENTRY_POINTS}; {f'installed are {names}' if names else 'none is installed'}"
            )
        entry, what = installed[source], f"entry point {source!r} of {ENTRY_POINTS}"
        failure = _import(source, what, source, entry.module, entry.load)
    if failure:
        raise ImportError(failure)


def _import_file(path: Path) -> str | None:
    """Import a loss file; what failed, in one line."""
    in_baselines = path.parent == baselines_folder()
    # The path makes the name unique: two folders may hold files of one name.
    module = f"rspose.baselines.{path.stem}" if in_baselines else f"{path.stem} ({path})"

    def run() -> None:
        if in_baselines:
            importlib.import_module(module)
        else:
            spec = importlib.util.spec_from_file_location(module, path)
            assert spec is not None and spec.loader is not None  # there always is one for a .py file
            sys.modules[module] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[module])
        classes = [each for each in vars(sys.modules[module]).values() if isinstance(each, type)]
        own = [each for each in classes if issubclass(each, HeatmapLoss) and each.__module__ == module]
        if own and not any(each in _losses.values() for each in own):
            raise TypeError(f"class {own[-1].__name__} is not registered: write @register above it")

    return _import(str(path), f"loss file {path}", path.stem, module, run)


def _import(key: str, what: str, name: str, module: str, run: Callable[[], object]) -> str | None:
    """Import a module of losses once, as ``key``; what failed, in one line, which answers for ``name``."""
    if key not in _imported:
        _imported[key] = None
        try:
            run()
        except (Exception, SystemExit) as error:
            sys.modules.pop(module, None)
            why = " ".join(f"{type(error).__name__}: {error}".split())
            failure = _imported[key] = f"{what}: cannot be imported: {why}"
            # Neither what it had registered before it failed may be used, nor a name that means two losses.
            registered = [known for known, loss in _losses.items() if loss.__module__ == module]
            taken = [error.name] if isinstance(error, NameTaken) else []
            _unusable.update(dict.fromkeys([name, *registered, *taken], failure))
    return _imported[key]


def available() -> dict[str, type[HeatmapLoss]]:
    """Return every known loss by name, those of the installed ``baselines`` among them.

    A file that cannot be imported is left out, with one line on stderr.
    """
    if folder := baselines_folder():
        new = [path for path in sorted(folder.glob("[!_]*.py")) if str(path) not in _imported]
        for failure in filter(None, map(_import_file, new)):
            print(f"warning: {failure}", file=sys.stderr)
    return {name: loss for name, loss in sorted(_losses.items()) if name not in _unusable}


def unusable() -> dict[str, str]:
    """Return what could not be imported: file stem, entry point or name, and why, in one line."""
    return dict(_unusable)


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of a loss that can be set, with their defaults.

    Raises:
        ValueError: there is no such loss.
    """
    return {key: default for key, default in _arguments(_find(name)).items() if key != "num_keypoints"}


def build(
    name: str, parameters: Mapping[str, Any] | None = None, num_keypoints: int | None = None
) -> HeatmapLoss:
    """Make a loss.

    Args:
        name, parameters: its registered name, and what differs from the defaults.
        num_keypoints: number of keypoints of the dataset, for the losses that learn something per keypoint.

    Raises:
        ValueError: there is no such loss or parameter, the loss rejects a value, or it has to know the number
            of keypoints.
    """
    loss, parameters = _find(name), parameters or {}
    arguments = _arguments(loss)
    passed = {"num_keypoints": num_keypoints} if "num_keypoints" in arguments else {}
    if passed and num_keypoints is None and arguments["num_keypoints"] is inspect.Parameter.empty:
        raise ValueError(f"{name} loss: num_keypoints: expected the number of keypoints, found none")
    allowed = [parameter for parameter in arguments if parameter not in passed]
    for parameter in parameters:
        if parameter not in allowed:
            expected = f"one of {', '.join(allowed)}" if allowed else "none: this loss has no parameters"
            raise ValueError(f"{name} loss: unknown parameter {parameter!r}: expected {expected}")
    return loss(**passed, **parameters)


def _find(name: str) -> type[HeatmapLoss]:
    losses = available()
    if name not in losses:
        raise ValueError(_unusable.get(name, f"unknown loss {name!r}: expected one of {', '.join(losses)}"))
    return losses[name]


def _arguments(loss: type[HeatmapLoss]) -> dict[str, Any]:
    """The arguments of the constructor with their defaults; none where it is nn.Module's."""
    if loss.__init__ is HeatmapLoss.__init__:
        return {}
    return {argument.name: argument.default for argument in inspect.signature(loss).parameters.values()}


def baselines_folder() -> Path | None:
    """Return the folder of the project's own loss files, None where it is not installed."""
    spec = importlib.util.find_spec("rspose.baselines")
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))).resolve() if locations else None
