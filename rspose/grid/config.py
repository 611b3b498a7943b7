"""A config file read, checked against its schema, and turned into a grid of cells.

The losses, and torch with them, are imported where they are needed: tables of finished records are made in an
environment without.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import yaml

from rspose.grid.cell import Cell

if TYPE_CHECKING:
    from rspose.losses import HeatmapLoss

__all__ = [
    "Cell",
    "ConfigError",
    "cells",
    "complete",
    "extended",
    "given",
    "load_config",
    "load_schema",
    "loss_settings",
    "registered_losses",
    "scaled_learning_rate",
    "training_settings",
    "typed",
]

_CHOOSE_CELLS = ("datasets", "models", "heads", "losses", "seeds")
SCHEMA_PATH = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"


class ConfigError(ValueError):
    """A config that cannot be used; the message is one line that names the key and what is allowed."""


def load_schema() -> dict[str, Any]:
    """The schema of the config, with descriptions and defaults."""
    return yaml.safe_load(SCHEMA_PATH.read_text())


def load_config(path: Path) -> dict[str, Any]:
    """Read a YAML config, lay it over the one it extends, and complete it with :func:`complete`."""
    return complete(extended(_read(path), path.parent))


def extended(config: Any, folder: Path, extending: tuple[Path, ...] = ()) -> Any:
    """Lay a config over the one that its key ``extends`` names, and that one over the one it extends.

    Mappings are merged, key by key and at every depth; everything else is replaced, lists too. A key set to
    null is taken away where the base has it; elsewhere the null stays, since it means something to mmengine.

    Args:
        config: A config as it was read; without the key ``extends`` it is returned as it is.
        folder: Folder of its file, which the name in ``extends`` is relative to.
        extending: The files that are being extended already.

    Raises:
        ConfigError: If there is no such file, it is not YAML, or files extend each other in a circle.
    """
    if not isinstance(config, dict) or "extends" not in config:
        return config
    if not isinstance(config["extends"], str):
        raise ConfigError(
            f"config key 'extends': expected the name of a config file; found {config['extends']!r}"
        )
    path = (folder / config["extends"]).resolve()
    if path in extending:
        circle = " -> ".join(file.name for file in (*extending[extending.index(path) :], path))
        raise ConfigError(f"config key 'extends': files extend each other: {circle}")
    base = extended(_read(path), path.parent, (*extending, path))
    return _patched(base, {key: value for key, value in config.items() if key != "extends"})


def typed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of ``snakemake --config`` with the numbers and the like within their lists and mappings.

    Snakemake reads those as texts: of ``seeds=[0,1]`` it makes ``["0", "1"]``.
    """
    return {key: _typed(each) if isinstance(each, list | Mapping) else each for key, each in changes.items()}


def _typed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    if isinstance(value, str) and value:
        with suppress(yaml.YAMLError):
            read = yaml.safe_load(value)
            return read if read is None or isinstance(read, int | float) else value
    return value


def given(
    files: Sequence[Path], changes: Mapping[str, Any], repository: Path, folder: Path
) -> dict[str, Any]:
    """What a grid was run from, so that its cells can be run again: the ``config`` of their records.

    Args:
        files: The config files, later ones over earlier ones.
        changes: What ``--config`` changed of them.
        repository: The folder that paths are given from where they lie in it; others are absolute.
        folder: Where it was run.

    Returns:
        ``files``; ``directory``, null for the repository; and ``changes`` as they are typed, but those that
        only choose cells of the grid.
    """

    def place(path: Path) -> str:
        path = path.resolve()
        inside = path.is_relative_to(repository.resolve())
        return path.relative_to(repository.resolve()).as_posix() if inside else str(path)

    return {
        "files": [place(file) for file in files],
        "directory": None if folder.resolve() == repository.resolve() else place(folder),
        "changes": [
            f"{key}={value if isinstance(value, str | bool) else json.dumps(value)}"
            for key, value in changes.items()
            if key not in _CHOOSE_CELLS
        ],
    }


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    try:
        return yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _patched(base: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    patched = dict(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None and key in patched:
            del patched[key]
        else:
            patched[key] = _patched(patched.get(key), value)
    return patched


def complete(config: Any) -> dict[str, Any]:
    """Check a config against the schema and fill in its defaults.

    Raises:
        ConfigError: One line naming the key, what is allowed and what was found.
    """
    schema = load_schema()
    config = _with_single_names_as_lists(config)
    if not isinstance(config, dict):
        raise ConfigError(f"config: expected a mapping of keys, found {type(config).__name__}")
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(config), key=lambda e: list(map(str, e.path))
    )
    if errors:
        raise ConfigError(_one_line(jsonschema.exceptions.best_match(errors)))
    config = _with_defaults(deepcopy(config), schema)
    if not config["records"]:
        _load_losses(config)
        _check_references(config)
    return config


def _with_single_names_as_lists(config: Any) -> Any:
    # So that `--config losses=mse` means what it says.
    if not isinstance(config, dict):
        return config
    axes = ("records", "datasets", "models", "heads", "losses", "losses_from", "seeds")
    return {
        key: [value] if key in axes and isinstance(value, (str, int)) else value
        for key, value in config.items()
    }


def _one_line(error: jsonschema.ValidationError, *parents: str) -> str:
    key = ".".join((*parents, *(str(part) for part in error.absolute_path)))
    where = f"config key '{key}'" if key else "config"
    found = f"found {error.instance!r}"
    # jsonschema declares that these may be unset; those of an error that it reports never are.
    schema: Any = error.schema
    expected: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties" if error.parent is None or "propertyNames" not in schema:
            allowed = list(schema.get("properties", {}))
            unknown = [name for name in instance if name not in allowed]
            return f"{where}: unknown key {', '.join(map(repr, unknown))}; allowed: {', '.join(allowed)}"
        case "required":
            missing = [name for name in expected if name not in instance]
            return f"{where}: missing key {', '.join(map(repr, missing))}"
        case "enum":
            return f"{where}: expected one of {', '.join(map(str, expected))}; {found}"
        case "type":
            types = expected if isinstance(expected, str) else " or ".join(expected)
            return f"{where}: expected {types}; {found}"
        case "minItems" if error.instance == []:
            return f"{where}: the grid is empty; name at least one"
        case "uniqueItems":
            return f"{where}: every entry must stand once; {found}"
        case _:
            return f"{where}: {error.message}"


def _with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    if not isinstance(value, dict) or schema.get("type") != "object":
        return value
    for key, subschema in schema.get("properties", {}).items():
        if key not in value and "default" in subschema:
            value[key] = deepcopy(subschema["default"])
        if key in value:
            value[key] = _with_defaults(value[key], subschema)
    other = schema.get("additionalProperties")
    if isinstance(other, dict):
        for key in value:
            if key not in schema.get("properties", {}):
                value[key] = _with_defaults(value[key], other)
    return value


def _load_losses(config: dict[str, Any]) -> None:
    from rspose.losses import load

    for source in config["losses_from"]:
        try:
            load(source)
        except ImportError as error:  # of no concern to cells that do not need it
            print(f"warning: config key 'losses_from': {error}", file=sys.stderr)
        except ValueError as error:
            raise ConfigError(f"config key 'losses_from': {error}") from None


def registered_losses(config: dict[str, Any]) -> "dict[str, type[HeatmapLoss]]":
    """The losses that a config can name: those of the project, and of its ``losses_from``."""
    from rspose.losses import available, load

    for source in config["losses_from"]:
        with suppress(ImportError):
            load(source)
    return available()


def _check_references(config: dict[str, Any]) -> None:
    """What a schema cannot say: names that must exist elsewhere."""
    from rspose.losses import available, build, parameters, unusable

    for dataset in config["datasets"]:
        if dataset not in config["data"]:
            raise ConfigError(f"config key 'data': no entry for dataset {dataset!r}; add data.{dataset}.root")
    settings = config["model_settings"]
    for model in config["models"]:
        if model not in settings:
            raise ConfigError(
                f"config key 'models': unknown model {model!r}; model_settings has {', '.join(settings)}"
            )
        _check_model(model, config)
    # A model may lack heads and datasets, but one that no model has is a mistake.
    for axis, key, what in (
        ("heads", "base", "mmpose config for head"),
        ("datasets", "input_size", "entry for dataset"),
    ):
        for name in config[axis]:
            if not any(name in settings[model][key] for model in config["models"]):
                others = ", nor has another model of the grid" if len(config["models"]) > 1 else ""
                raise ConfigError(
                    f"config key 'model_settings.{config['models'][0]}.{key}': no {what} {name!r}{others}"
                )
    registered = available()
    names = [*registered, *(name for name in config["loss_settings"] if name not in registered)]
    for loss in config["losses"]:
        if loss not in names:
            raise ConfigError(f"config key 'losses': {_unknown(loss, names)}")
    for name, change in config["loss_settings"].items():
        for model in change.get("models", []):
            if model not in settings:
                raise ConfigError(
                    f"config key 'loss_settings.{name}.models': unknown model {model!r}; "
                    f"model_settings has {', '.join(settings)}"
                )
        registered_name = change.get("loss", name)
        if registered_name not in registered:
            if registered_name in unusable() and name not in config["losses"]:
                continue
            raise ConfigError(f"config key 'loss_settings.{name}': {_unknown(registered_name, registered)}")
        known = parameters(registered_name)
        for key, value in change["parameters"].items():
            if key not in known:
                raise ConfigError(
                    f"config key 'loss_settings.{name}.parameters': unknown parameter {key!r} of loss "
                    f"{registered_name!r}; allowed: {', '.join(known) or 'none'}"
                )
            if _is_number(known[key]) and not _is_number(value):
                raise ConfigError(
                    f"config key 'loss_settings.{name}.parameters.{key}': expected a number; found {value!r}"
                )
        try:
            build(registered_name, change["parameters"], num_keypoints=1)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"config key 'loss_settings.{name}.parameters': {error}") from None
    if not cells(config):
        serves = [
            f"{loss!r} serves {', '.join(served_heads(config, loss, 'heatmap'))}" for loss in config["losses"]
        ]
        raise ConfigError(
            f"config key 'heads': the grid is empty: found {', '.join(config['heads'])}; {'; '.join(serves)}"
        )


def _check_model(model: str, config: dict[str, Any]) -> None:
    settings, key = config["model_settings"][model], f"config key 'model_settings.{model}"
    for head in settings["base"]:
        if head not in settings["sigma"]:
            raise ConfigError(f"{key}.sigma': no entry for head {head!r}, which 'base' has")
        sigma = settings["sigma"][head]
        for dataset in settings["input_size"]:
            if isinstance(sigma, dict) and dataset not in sigma:
                raise ConfigError(f"{key}.sigma.{head}': no entry for dataset {dataset!r}")
    # What is changed for a model is checked as what it changes.
    schema = load_schema()["properties"]["training"]
    changes = {"training": settings["training"]}
    changes.update({f"dataset_training.{name}": each for name, each in settings["dataset_training"].items()})
    for name, change in changes.items():
        if "device" in change:
            raise ConfigError(f"{key}.{name}': device is one for all models; set training.device")
        errors = list(jsonschema.Draft202012Validator({**schema, "required": []}).iter_errors(change))
        if errors:
            raise ConfigError(
                _one_line(jsonschema.exceptions.best_match(errors), f"model_settings.{model}.{name}")
            )
    for dataset in config["datasets"]:
        _check_devices(model, dataset, config)


def _check_devices(model: str, dataset: str, config: dict[str, Any]) -> None:
    levels = {
        "training": config["training"],
        f"model_settings.{model}.training": config["model_settings"][model]["training"],
        f"model_settings.{model}.dataset_training.{dataset}": config["model_settings"][model][
            "dataset_training"
        ].get(dataset, {}),
    }
    (_, batch_size), (key, devices) = (
        [(name, level[key]) for name, level in levels.items() if key in level][-1]
        for key in ("batch_size", "devices")
    )
    if batch_size % devices:
        raise ConfigError(
            f"config key '{key}.devices': expected a divisor of the batch size of {model} on {dataset}, "
            f"{batch_size}; found {devices}"
        )


def _unknown(loss: str, known: Iterable[str]) -> str:
    from rspose.losses import unusable

    return unusable().get(loss, f"unknown loss {loss!r}; expected one of {', '.join(known)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def loss_settings(config: dict[str, Any], loss: str, head: str) -> dict[str, Any]:
    """The settings of a loss on a head: ``loss``, ``title``, ``parameters`` and ``learning_rate_factor``."""
    from rspose.losses import parameters

    change = config["loss_settings"].get(loss, {})
    registered = registered_losses(config)
    registered_name = change.get("loss", loss)
    factor = change.get("learning_rate_factor", 1.0)
    return {
        "loss": registered_name,
        "title": change.get("title", registered[registered_name].title if registered_name == loss else loss),
        "parameters": {**parameters(registered_name), **change.get("parameters", {})},
        "learning_rate_factor": change.get("head_learning_rate_factor", {}).get(head, factor),
    }


def served_heads(config: dict[str, Any], loss: str, head: str) -> tuple[str, ...]:
    """The heads that a loss serves with the parameters that it has on a head."""
    from rspose.losses import build

    settings = loss_settings(config, loss, head)
    return build(settings["loss"], settings["parameters"], num_keypoints=1).heads


def training_settings(config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """How a cell is trained: ``training``, changed by the model's own and by its own on the dataset.

    ``learning_rate`` is that of the cell's head, before the factor of the loss, and ``head_learning_rate`` is
    gone. ``base_batch_size`` is the batch size that it is for, or None if it is taken as it is.
    """
    model = config["model_settings"][cell.model]
    settings: dict[str, Any] = {}
    rate: Any = None
    for level in (config["training"], model["training"], model["dataset_training"].get(cell.dataset, {})):
        settings.update(level)
        rate = level.get("head_learning_rate", {}).get(cell.head, level.get("learning_rate", rate))
    del settings["head_learning_rate"]
    if isinstance(rate, dict):
        return {**settings, "learning_rate": rate["value"], "base_batch_size": rate["base_batch_size"]}
    return {**settings, "learning_rate": rate, "base_batch_size": None}


def scaled_learning_rate(training: dict[str, Any]) -> float:
    """The learning rate at the batch size that is trained with, as mmengine scales it.

    Args:
        training: From :func:`training_settings`.
    """
    if training["base_batch_size"] is None:
        return training["learning_rate"]
    return training["learning_rate"] * (float(training["batch_size"]) / float(training["base_batch_size"]))


def cells(config: dict[str, Any]) -> list[Cell]:
    """The grid of a config, without what is not there to combine.

    Left out are the cells of models that lack the head or the dataset, of losses that do not serve the head,
    and of losses that are meant for other models.
    """
    return list(_cells(config))


def _cells(config: dict[str, Any]) -> Iterator[Cell]:
    serves = {
        (loss, head): head in served_heads(config, loss, head)
        for loss in config["losses"]
        for head in config["heads"]
    }
    for dataset in config["datasets"]:
        for model in config["models"]:
            settings = config["model_settings"][model]
            if dataset not in settings["input_size"]:
                continue
            for head in config["heads"]:
                if head not in settings["base"]:
                    continue
                for loss in config["losses"]:
                    meant_for = config["loss_settings"].get(loss, {}).get("models", [model])
                    if model not in meant_for or not serves[loss, head]:
                        continue
                    for seed in config["seeds"]:
                        yield Cell(dataset, model, head, loss, seed)
