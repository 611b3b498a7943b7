"""The config of a grid: its keys with their meanings, defaults and ranges, and the cells that it selects.

Losses are imported where they are needed: tables of finished records are made without torch.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rspose.datasets import DATASETS
from rspose.grid.cell import Cell
from rspose.grid.fields import Length, Name, Seed, first_mistake

if TYPE_CHECKING:
    Dataset = str
    Head = str
else:
    Head = Literal["heatmap", "simcc"]
    Dataset = Literal[tuple(DATASETS)]

Source = Literal["initial_weights", "order", "augmentation", "training_sample"]
SEEDED: list[Source] = ["initial_weights", "order", "augmentation"]
"""What another seed changes in a training, by default."""

_CHOOSE_CELLS = ("datasets", "models", "heads", "losses", "seeds", "lengths")
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_KINDS = {int: "number", float: "number", list: "pair", dict: "mapping"}


class ConfigError(ValueError):
    """A config that cannot be used; the message is one line: the key, what is allowed, what was found."""

    @classmethod
    def at(cls, key: str, problem: str) -> "ConfigError":
        """What is wrong with a key."""
        return cls(f"config key '{key}': {problem}" if key else f"config: {problem}")


def _converted(value: Any, convert: Callable[[str], Any]) -> Any:
    """A value with its texts, at every depth, as ``convert`` makes them."""
    if isinstance(value, Mapping):
        return {key: _converted(each, convert) for key, each in value.items()}
    if isinstance(value, list):
        return [_converted(each, convert) for each in value]
    return convert(value) if isinstance(value, str) else value


def _numbers(value: Any) -> Any:
    """A value with the numbers that YAML takes for texts, ``1e-3``, as numbers at every depth."""
    return _converted(value, lambda text: float(text) if _EXPONENT.fullmatch(text) else text)


def _kind(value: Any) -> str | None:
    return _KINDS.get(type(_numbers(value)))


def _either(expected: str) -> Discriminator:
    return Discriminator(_kind, custom_error_type="expected", custom_error_message=expected)


def _rate(value: Any) -> Any:
    if _kind(value) == "number":
        return {"value": value, "base_batch_size": None}
    if not isinstance(value, dict | LearningRate):
        raise PydanticCustomError("expected", "a number, or a mapping of value and base_batch_size")
    return value


class _Listed:
    """A list without repeats. A single entry stands for a list of one: `--config losses=mse`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def checked(value: Any, validate: Callable[[Any], list[Any]]) -> list[Any]:
            values = validate([value] if isinstance(value, str | int | float) else value)
            if len(set(values)) < len(values):
                raise ValueError(f"every entry must stand once; found {value!r}")
            return values

        return core_schema.no_info_wrap_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several, several["items"]]}


Folder = Annotated[Path, Field(strict=False)]
Free = Annotated[dict[str, Any], BeforeValidator(_numbers)]
Number = Annotated[float, BeforeValidator(_numbers)]
Positive = Annotated[Number, Field(gt=0, le=1000)]
Count = Annotated[int, Field(ge=1, le=10**7)]
Processes = Annotated[int, Field(ge=1, le=1024)]
Pair = Field(min_length=2, max_length=2)
ImageSize = Annotated[list[Annotated[int, Field(ge=64, le=8192)]], Pair]
InputSize = Annotated[list[Annotated[int, Field(ge=32, le=4096)]], Pair]
_One = Annotated[Positive, Tag("number")]
_Two = Annotated[list[Positive], Pair, Tag("pair")]
Sigma = Annotated[_One | _Two, _either("a number or a pair")]
SigmaOfEach = Annotated[
    _One | _Two | Annotated[dict[Dataset, Sigma], Tag("mapping")],
    _either("a number, a pair, or a mapping of datasets to them"),
]
Part = Annotated[
    Annotated[Number, Tag("number")] | Annotated[Free, Tag("mapping")],
    _either("a weight, or a mapping of weight and the loss's parameters"),
]


class Settings(BaseModel):
    """A mapping of the config. A text is no number and no list, and true is not 1."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        unknown = [key for key in values if key not in cls.model_fields] if isinstance(values, dict) else []
        if unknown:
            allowed = [key for key in cls.model_fields if key != "given"]
            raise ValueError(f"unknown key {', '.join(map(repr, unknown))}; allowed: {', '.join(allowed)}")
        return values


_Model = TypeVar("_Model", bound=Settings)


class Drawing(Settings):
    """What is drawn of a dataset."""

    train_images: Count
    """Training images to draw."""
    val_images: Count
    """Validation images to draw."""
    seed: Seed
    """Seed of the drawing. The same seed gives the same bytes."""
    image_size: ImageSize = [320, 240]
    """Width and height of the images in pixels."""


def data_folder(path: Path) -> Path:
    """Where real data is that a config looks for in ``path``.

    What is below ``data`` is looked for below the folder that the environment variable RSPOSE_DATA names.
    """
    elsewhere = os.environ.get("RSPOSE_DATA")
    return Path(elsewhere, *path.parts[1:]) if elsewhere and path.parts[:1] == ("data",) else path


class DataSettings(Settings):
    """Where a dataset is."""

    root: Folder
    """Folder of the dataset, in the layout of the real one. Of real data, `data` stands for the folder that
    the environment variable RSPOSE_DATA names, where it is set: `data/coco` is `$RSPOSE_DATA/coco`."""
    generate: Drawing | None = None
    """Draw the dataset into `root`. Leave out for real data, which must lie there already."""
    least_keypoints: int | None = Field(default=None, ge=1, le=1000)
    """Of `lsp`: labelled joints of a person who is trained on; all 14 if left out."""

    @property
    def folder(self) -> Path:
        """Where the dataset is on this machine."""
        return self.root if self.generate else data_folder(self.root)


class Sigmas(Settings):
    """Standard deviation of the labels of each head."""

    heatmap: Positive | None = None
    """In heatmap pixels."""
    simcc: SigmaOfEach | None = None
    """In SimCC bins; one number, a pair for x and y, or a mapping with one of them per dataset."""


class InitialWeights(Settings):
    """How the initial weights of a model are trained."""

    crops: int = Field(ge=32, le=10**7)
    """Generated person crops to train on."""
    epochs: Count
    """Passes over the crops."""
    learning_rate: Number = Field(default=0.003, gt=0, le=100)
    """Peak learning rate (Adam, one cycle)."""
    seed: Seed
    """Seed of the crops, the weights and the order."""
    threads: Processes = 2
    """CPU threads; another number gives other weights, in the last bits."""


class ModelSettings(Settings):
    """A model: the mmpose configs that it is composed from, and what differs from `training`."""

    base: dict[Head, str] = Field(min_length=1)
    """The mmpose config of each head, a path below mmpose's `configs`. The grid leaves out other heads."""
    backbone: str | None = None
    """The mmpose config whose backbone and neck take the place of those in `base`."""
    pretrained: str | None = None
    """Weights that the backbone starts from: URL, file or `none`; if left out, the mmpose config's."""
    input_size: dict[Dataset, InputSize]
    """Width and height of the input crop in pixels, per dataset. The grid leaves out other datasets."""
    sigma: Sigmas
    """Standard deviation of the Gaussian labels, for each head of `base`."""
    overrides: Free = {}
    """Merged into the mmpose config of both heads (mmengine's rules, `_delete_` included)."""
    head_overrides: dict[Head, Free] = {}
    """The same for one head."""
    stride: int = Field(default=32, ge=1, le=256)
    """Input pixels per pixel of the feature map that the head takes."""
    training: Free = {}
    """Keys of `training` that are others for this model; each takes the place of that in `training`."""
    dataset_training: dict[Dataset, Free] = {}
    """The same for this model on one dataset."""
    initial_weights: InitialWeights | None = None
    """Train the weights that all cells of the model start from, on segmenting drawn figures."""

    def sigma_of(self, head: str, dataset: str) -> float | list[float]:
        """Standard deviation of the labels of a head on a dataset, for x and y where it is a list."""
        sigma = getattr(self.sigma, head)
        return sigma[dataset] if isinstance(sigma, dict) else sigma


class LearningRate(Settings):
    """A learning rate, and the batch size that it is for."""

    value: Number = Field(gt=0, le=100)
    """The rate at a batch of `base_batch_size`."""
    base_batch_size: Count | None
    """The batch size that the rate is for."""


Rate = Annotated[LearningRate, BeforeValidator(_rate, json_schema_input_type=Positive | LearningRate)]


class HeldOut(Settings):
    """Training images that are kept out of a training, to score it on."""

    share: Number = Field(gt=0, lt=1)
    """Share of the training images."""
    seed: Seed
    """Seed of the choice of images."""


class Training(Settings):
    """How cells are trained."""

    epochs: Count
    """Passes over the training set."""
    batch_size: Count
    """Instances per step, over all devices."""
    learning_rate: Rate
    """Learning rate of the mmpose config's optimizer. A number is taken as it is; a mapping of `value` and
    `base_batch_size` is scaled linearly with `batch_size`, as mmpose's `--auto-scale-lr` does."""
    head_learning_rate: dict[Head, Rate] = {}
    """The same for one head, where it differs."""
    warmup_iterations: int = Field(default=500, ge=0, le=10**7)
    """Steps of linear warm-up."""
    schedule: Literal["step", "cosine", "flat_cosine"] = "step"
    """Decay of the rate: mmpose's steps, a cosine to 1/100, or RTMPose's flat half and cosine to 1/20."""
    milestones: list[Annotated[Number, Field(gt=0, le=1)]] = [0.81, 0.952]
    """With `step`, the fractions of the training after which the rate falls tenfold."""
    augmentation: Literal["dataset", "model"] = "dataset"
    """The training pipeline: that of the dataset's mmpose config, or of the model's with all its stages."""
    transforms: dict[
        Literal["GetBBoxCenterScale", "RandomFlip", "RandomHalfBody", "RandomBBoxTransform"], Free
    ] = {}
    """Arguments of steps of mmpose's data pipeline, where they differ from the mmpose config's."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass. The losses always compute in float32."""
    channels_last: bool = False
    """Keep images and weights in the channels-last layout."""
    workers: int = Field(default=0, ge=0, le=1024)
    """Data loading processes per device; 0 loads in the training process."""
    threads: Processes = 1
    """CPU threads per device."""
    cache_images: bool = False
    """Keep decoded images in memory, for datasets that fit."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `auto` takes a GPU where there is one."""
    held_out: HeldOut | None = None
    """Train without a part of the training images. `tuning` sets it for its trials."""
    seeds_vary: Annotated[list[Source], Field(min_length=1), _Listed()] = SEEDED
    """What another seed changes: the initial weights of what is not pretrained, the order of the data, their
    augmentation (with dropout), the training sample. What is not named is that of seed 0; the sample is all
    persons then, else as many drawn with replacement. `rspose variance` says what each contributes."""
    devices: Processes = 1
    """GPUs of one machine that divide a cell's batch among them; processes on the CPU where there is none."""

    @property
    def scaled_learning_rate(self) -> float:
        """The learning rate at the batch size that is trained with, as mmengine scales it."""
        rate = self.learning_rate
        if rate.base_batch_size is None:
            return rate.value
        return rate.value * (float(self.batch_size) / float(rate.base_batch_size))

    def seed_of(self, source: Source, seed: int) -> int:
        """The seed of a source of variance in a cell of a seed."""
        return seed if source in self.seeds_vary else 0


class LossSettings(Settings):
    """A change to a loss, or a variant of one."""

    loss: Name | None = None
    """The registered loss that this is a variant of; the key itself if left out."""
    sum: dict[Name, Part] = {}
    """In place of `loss`: the losses that add up to this one, each with its weight, or with a mapping of
    `weight` and its parameters: `{kl: 1, instance_sort: {weight: 0.5, delta: 0.5}}`."""
    title: str | None = None
    """Name of the variant in tables."""
    reading: str | None = None
    """The open point of a publication that this variant fills; the table `readings` lists such variants."""
    models: Annotated[list[Name], Field(min_length=1), _Listed()] | None = None
    """Models that are trained with this loss; all if left out."""
    parameters: Free = {}
    """Arguments of the loss."""
    learning_rate_factor: Positive = 1.0
    """Factor on the learning rate, for a loss whose gradients ask for another one."""
    head_learning_rate_factor: dict[Head, Positive] = {}
    """The same for one head, where it differs."""

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The losses that are added up, each with its weight and parameters."""
        return {
            name: {"weight": 1.0, **(each if isinstance(each, dict) else {"weight": each})}
            for name, each in self.sum.items()
        }


class Evaluation(Settings):
    """How cells are evaluated."""

    flip_test: bool = True
    """Average the prediction with that of the mirrored crop."""
    batch_size: Count = 64
    """Crops per prediction step."""
    drawn_samples: Count = 6
    """Validation instances drawn in the figures."""


class Tuning(Settings):
    """How each loss is tuned for each model and head before its cells are trained."""

    trials: int = Field(ge=2, le=1000)
    """Trainings of each loss, without the images of `held_out`: the recipe as it stands, then quasi-random
    points (Halton's), the same for all losses. The best one says how the cells are trained."""
    length: Number = Field(default=1.0, gt=0, le=1)
    """Epochs of a trial, as a part of the training's."""
    held_out: HeldOut = HeldOut(share=0.15, seed=0)
    """Training images that trials do not train on and are scored on, by keypoint AP on annotated boxes."""
    learning_rate: Annotated[list[Positive], Pair] = [0.1, 10.0]
    """Least and largest factor on the learning rate."""
    sigma: Annotated[list[Positive], Pair] = [0.5, 1.25]
    """Least and largest factor on the standard deviation of the labels."""
    seed: Seed = 0
    """Seed of the points and of the trials, which start as a cell of that seed does."""
    dataset: Dataset | None = None
    """Dataset whose choices serve all others too, which then need no trials; left out, each has its own."""
    choices: Folder | None = None
    """File, beside the config's, of choices that were made before with these settings, as `rspose choices`
    writes it: a loss that is in it needs no trials."""

    @model_validator(mode="after")
    def _ordered(self) -> "Tuning":
        for key in ("learning_rate", "sigma"):
            lowest, highest = getattr(self, key)
            if not lowest < highest:
                raise ValueError(f"{key}: expected the smaller factor first; found {[lowest, highest]}")
        return self


@dataclass(frozen=True)
class ChosenLoss:
    """A loss of the grid on a head: what it is registered as, with every argument, defaults included."""

    loss: str
    title: str
    parameters: dict[str, Any]
    learning_rate_factor: float


class GridConfig(Settings):
    """The cells that a config selects (datasets x models x heads x losses x seeds), and how they are made."""

    extends: str | None = None
    """A config file, relative to this one, that this one is laid over: mappings are merged, all else is
    replaced, lists too, and a key set to null is taken away where that one has it."""
    name: Name
    """Name of the grid; it stands in the tables' notes."""
    results: Folder = Path("results")
    """Folder of everything that is made. Configs with the same folder share datasets, cells and records."""
    records: Annotated[list[Folder], _Listed()] = []
    """Folders of finished records: where there are any, nothing is trained, only their tables are made."""
    datasets: Annotated[list[Dataset], Field(min_length=1), _Listed()]
    """Datasets of the grid."""
    models: Annotated[list[Name], Field(min_length=1), _Listed()]
    """Models of the grid, each a key of `model_settings`."""
    heads: Annotated[list[Head], Field(min_length=1), _Listed()]
    """Heads of the grid, `heatmap` (2D) and `simcc` (1D)."""
    losses: Annotated[list[Name], Field(min_length=1), _Listed()]
    """Losses of the grid, each a registered loss or a key of `loss_settings`."""
    losses_from: Annotated[list[str], _Listed()] = []
    """Losses from outside the project: `.py` files, relative to the working directory, or entry points of the
    group `rspose.losses`."""
    seeds: Annotated[list[Seed], Field(min_length=1), _Listed()]
    """Seeds of the grid. What a seed sets, `training.seeds_vary` says."""
    lengths: Annotated[list[Annotated[Length, BeforeValidator(_numbers)]], Field(min_length=1), _Listed()] = [
        1.0
    ]
    """Lengths of the trainings, factors on `training.epochs`. Tables are of one length each."""
    data: dict[Dataset, DataSettings]
    """Where each dataset is. Every dataset of the grid needs an entry."""
    model_settings: dict[Name, ModelSettings]
    """The models a grid can name."""
    training: Training
    """How every cell is trained. Only the loss changes within a (dataset, model, head, seed)."""
    tuning: Tuning | None = None
    """Tune every loss with the same number of trials; left out, all are trained by the recipe."""
    pretrained_folder: Folder = Path("pretrained")
    """Folder of the pretrained weights that URLs name; `rspose pretrained CONFIG` downloads them."""
    loss_settings: dict[Name, LossSettings] = {}
    """Changes to a loss, or variants of one under a name of their own."""
    evaluation: Evaluation = Evaluation()
    """How every cell is evaluated."""
    equivalence: Number = Field(default=0.5, ge=0, le=100)
    """Half width of the region of practical equivalence, in percentage points of the main metric: what tables
    call better or worse lies beyond it, what they call equivalent within it."""
    cells_per_gpu: int = Field(default=1, ge=1)
    """Trainings or predictions that share a GPU of this machine, for small models, which leave most of it
    idle. As many CPU cores have to be free. `snakemake --resources gpu=4` uses four GPUs, where there are as
    many. A job of a cluster has its GPU to itself."""
    controls: bool = True
    """Add the control rows, oracle keypoints and the mean pose."""
    given: dict[str, Any] | None = None
    """What the workflow was given, for the records; no key of a file."""

    def plain(self) -> dict[str, Any]:
        """The config as it was written, as plain data; it makes an equal config again."""
        return self.model_dump(mode="json", exclude_unset=True)

    def changed(self, **values: Any) -> "GridConfig":
        """The config with some keys changed, checked again by :func:`complete`."""
        return complete({**self.plain(), **values})

    def laid_over(self, changes: dict[str, Any]) -> "GridConfig":
        """The config with mappings merged into its own, as by ``extends``; checked key by key alone."""
        return GridConfig.model_validate(_patched(self.plain(), changes))

    @property
    def read_datasets(self) -> list[str]:
        """The datasets of the grid, and the one that its losses are tuned on."""
        tuned_on = [self.tuning.dataset] if self.tuning and self.tuning.dataset else []
        return list(dict.fromkeys([*self.datasets, *tuned_on]))

    def dataset_files(self, name: str, *uses: str) -> list[Path]:
        """The files that stand for a dataset: the manifest of a drawn one, those in use of a real one.

        Args:
            uses: Of ``train``, ``predict`` and ``evaluate``; the files of a real dataset that they read.
        """
        entry = self.data[name]
        names = ("manifest.json",) if entry.generate else DATASETS[name].files_of(*uses)
        return [entry.folder / file for file in names]

    def loss_of(self, name: str, head: str) -> ChosenLoss:
        """A loss of the grid, with what ``loss_settings`` says of it on a head."""
        from rspose.losses import available, load, parameters

        for source in self.losses_from:  # in a job nobody has loaded them
            with suppress(ImportError):
                load(source)
        change = self.loss_settings.get(name, LossSettings())
        loss = "sum" if change.sum else change.loss or name
        return ChosenLoss(
            loss,
            change.title or (available()[loss].title if loss == name else name),
            {"parts": change.parts} if change.sum else {**parameters(loss), **change.parameters},
            change.head_learning_rate_factor.get(head, change.learning_rate_factor),
        )

    def served_heads(self, loss: str, head: str) -> tuple[str, ...]:
        """The heads that a loss serves with the parameters that it has on a head."""
        from rspose.losses import build

        chosen = self.loss_of(loss, head)
        return build(chosen.loss, chosen.parameters, num_keypoints=1).heads

    def training_of(self, cell: Cell) -> Training:
        """How a cell is trained; ``learning_rate`` is its head's, before the factor of the loss."""
        changes: dict[str, Any] = {}
        for _, level in self.training_levels(cell.model, cell.dataset):
            rate = level.get("head_learning_rate", {}).get(cell.head, level.get("learning_rate"))
            changes.update(level, **({} if rate is None else {"learning_rate": rate}))
        recipe = Training.model_validate({**changes, "head_learning_rate": {}})
        return recipe.model_copy(update={"epochs": epochs_of(recipe.epochs, cell.length)})

    def training_levels(self, model: str, dataset: str) -> list[tuple[str, dict[str, Any]]]:
        """The keys that say how a model is trained on a dataset, with what they say; later ones decide."""
        settings, key = self.model_settings[model], f"model_settings.{model}"
        return [
            ("training", self.training.model_dump(exclude_unset=True)),
            (f"{key}.training", settings.training),
            (f"{key}.dataset_training.{dataset}", settings.dataset_training.get(dataset, {})),
        ]

    def cells(self) -> list[Cell]:
        """The grid, without models that lack the head or dataset and losses for other heads or models."""
        serves = {
            (loss, head): head in self.served_heads(loss, head) for loss in self.losses for head in self.heads
        }
        return [
            Cell(dataset, model, head, loss, seed, length)
            for dataset in self.datasets
            for model in self.models
            if dataset in self.model_settings[model].input_size
            for head in self.heads
            if head in self.model_settings[model].base
            for loss in self.losses
            if serves[loss, head]
            and model in (self.loss_settings.get(loss, LossSettings()).models or [model])
            for length in self.lengths
            for seed in self.seeds
        ]

    def unfinished(self) -> list[Cell]:
        """The cells of the grid that have no record yet."""
        folder = self.results / "records"
        return [cell for cell in self.cells() if not (folder / f"{cell.path}.json").is_file()]


def epochs_of(epochs: int, length: float) -> int:
    """The epochs of a training that is ``length`` times as long as its recipe's."""
    return max(1, round(epochs * length))


def load_config(path: Path) -> GridConfig:
    """Read a YAML config, lay it over the one it extends, and complete it with :func:`complete`."""
    return complete(extended(read_config(path), path.parent), path)


def merged(files: Sequence[Path], changes: dict[str, Any]) -> Any:
    """What the files say, each laid over those before, and ``changes`` of a command over all of them.

    Raises:
        ConfigError: As :func:`extended`, or if another than the first file extends one.
    """
    first, *others = files
    config = extended(read_config(first), first.parent)
    further = [(file, read_config(file), file.parent) for file in others]
    for source, change, folder in (*further, ("--config", changes, first.parent)):
        if "extends" in change:
            raise ConfigError(
                f"{source}: config key 'extends': expected in the first of several configs alone"
            )
        config = _patched(config, extended(change, folder))
    return config


def extended(config: Any, folder: Path, extending: tuple[Path, ...] = ()) -> Any:
    """Lay a config, of a file in ``folder``, over the one that its key ``extends`` names, and so on.

    The file that ``tuning.choices`` names is looked for in ``folder`` too, wherever a command runs.

    Raises:
        ConfigError: As :func:`read_config`, or if files extend each other in a circle.
    """
    if not isinstance(config, dict):
        return config
    tuning = config.get("tuning")
    if isinstance(tuning, dict) and isinstance(tuning.get("choices"), str):
        file = os.path.relpath(folder / tuning["choices"])
        config = {**config, "tuning": {**tuning, "choices": file}}
    if "extends" not in config:
        return config
    if not isinstance(config["extends"], str):
        raise ConfigError.at("extends", f"expected the name of a config file; found {config['extends']!r}")
    path = (folder / config["extends"]).resolve()
    if path in extending:
        circle = " -> ".join(file.name for file in (*extending[extending.index(path) :], path))
        raise ConfigError.at("extends", f"files extend each other: {circle}")
    if not path.is_file():
        raise ConfigError.at("extends", f"expected a config file; found none at {os.path.relpath(path)}")
    base = extended(read_config(path), path.parent, (*extending, path))
    return _patched(base, {key: value for key, value in config.items() if key != "extends"})


def read_config(path: Path) -> dict[str, Any]:
    """The keys of a YAML config as they stand in the file.

    Raises:
        ConfigError: If there is no such file, or it holds no keys in YAML.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise ConfigError(f"{path}: expected UTF-8, found byte 0x{byte:02x} in line {line}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        found = "nothing" if config is None else f"a {type(config).__name__}"
        raise ConfigError(f"{path}: expected a mapping of keys, found {found}")
    return config


def only_planned(arguments: Sequence[str]) -> bool:
    """Whether a command of Snakemake is a dry run, ``-np`` as well as ``--dry-run``."""
    # Beside n, the letters that take no value.
    return any(re.fullmatch(r"-[FRUkpn]*n[FRUkpn]*|--dry-?run", each) for each in arguments)


def require_configs(arguments: Sequence[str]) -> None:
    """End with one line if a config given to Snakemake cannot be read: its own words name no file."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    first, *others = options.parse_known_args(arguments)[0].configfile or [None]
    for path in others:
        # Snakemake takes all that follows --configfile for configs.
        if path.suffix not in (".yaml", ".yml") and not path.is_file():
            sys.exit(f"error: {path}: no config; a target comes first: snakemake {path} --configfile {first}")
    try:
        for path in (first, *others) if first else ():
            read_config(path)
    except ConfigError as error:
        sys.exit(f"error: {error}")


def _patched(base: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    patched = dict(base) if isinstance(base, dict) else {}
    for key, value in change.items():
        if value is None and key in patched:
            del patched[key]
        else:  # also a null that the base has not: it means something to mmengine
            patched[key] = _patched(patched.get(key), value)
    return patched


def typed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of ``snakemake --config`` with the numbers and the like within their lists and mappings.

    Snakemake reads those as texts: of ``seeds=[0,1]`` it makes ``["0", "1"]``.
    """

    def read(text: str) -> Any:
        with suppress(yaml.YAMLError):
            value = yaml.safe_load(text) if text else text
            return value if value is None or isinstance(value, int | float) else text
        return text

    return {key: each if isinstance(each, str) else _converted(each, read) for key, each in changes.items()}


def given(
    files: Sequence[Path], changes: Mapping[str, Any], repository: Path, folder: Path
) -> dict[str, Any]:
    """What a grid was run from, so that its cells can be run again: the ``config`` of their records.

    ``files``, later ones over earlier ones; ``directory``, the folder that it was run in, null for the
    repository; ``changes`` of ``--config`` as they are typed, but those that only choose cells. Paths within
    the repository are relative to it.
    """

    def place(path: Path) -> str:
        path, root = path.resolve(), repository.resolve()
        return str(path.relative_to(root) if path.is_relative_to(root) else path)

    return {
        "files": [place(file) for file in files],
        "directory": None if folder.resolve() == repository.resolve() else place(folder),
        "changes": [
            f"{key}={value if isinstance(value, str | bool) else json.dumps(value)}"
            for key, value in changes.items()
            if key not in _CHOOSE_CELLS
        ],
    }


def complete(config: Any, file: Path | None = None) -> GridConfig:
    """Check a config, of a ``file``, and fill in its defaults; :class:`ConfigError` says what is wrong."""
    try:
        completed = _validated(GridConfig, config)
        if not completed.records:
            for key, problem in chain(_model_problems(completed), _loss_problems(completed)):
                raise ConfigError.at(key, problem)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}" if file else str(error)) from None
    return completed


def _validated(model: type[_Model], values: Any, *parents: str) -> _Model:
    if not isinstance(values, dict):
        raise ConfigError(f"config: expected a mapping of keys, found {type(values).__name__}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        keys, kind, expected, found = first_mistake(error, values)
    match kind:
        case "missing":
            problem = f"missing key {expected!r}"
        case "value_error":
            problem = expected
        case "too_short" if found == []:
            problem = "the grid is empty; name at least one"
        case _:
            problem = f"expected {expected}; found {found!r}"
    raise ConfigError.at(".".join((*parents, *keys)), problem)


def _model_problems(config: GridConfig) -> Iterator[tuple[str, str]]:
    """Datasets and models must be described and fit together: keys, and what is wrong with them."""
    for dataset in config.datasets:
        if dataset not in config.data:
            yield "data", f"no entry for dataset {dataset!r}; add data.{dataset}.root"
    for dataset, entry in config.data.items():
        most = DATASETS[dataset].least_keypoints
        if (entry.least_keypoints or 0) > most:
            allowed = f"expected at most {most}; found {entry.least_keypoints}" if most else "of lsp alone"
            yield f"data.{dataset}.least_keypoints", allowed
    of_losses = {f"loss_settings.{name}.models": each.models for name, each in config.loss_settings.items()}
    for key, models in {"models": config.models, **of_losses}.items():
        for model in models or []:
            if model not in config.model_settings:
                yield key, f"unknown model {model!r}; model_settings has {', '.join(config.model_settings)}"
    tuned_on = config.tuning and config.tuning.dataset
    for model in config.models:
        settings, key = config.model_settings[model], f"model_settings.{model}"
        for head in settings.base:
            sigma = getattr(settings.sigma, head)
            if sigma is None:
                yield f"{key}.sigma", f"no entry for head {head!r}, which 'base' has"
            for dataset in settings.input_size:
                if isinstance(sigma, dict) and dataset not in sigma:
                    yield f"{key}.sigma.{head}", f"no entry for dataset {dataset!r}"
        for dataset in dict.fromkeys((*config.datasets, *settings.dataset_training)):
            yield from _training_problems(config, model, dataset)
        if settings.initial_weights and "heatmap" not in settings.base:
            yield f"{key}.initial_weights", "expected base.heatmap, whose model it trains, beside it"
        if tuned_on and tuned_on not in settings.input_size:
            yield f"{key}.input_size", f"no entry for dataset {tuned_on!r}, which tuning.dataset names"
    if tuned_on and tuned_on not in config.data:
        yield "tuning.dataset", f"no entry for dataset {tuned_on!r}; add data.{tuned_on}.root"
    # A model may lack heads and datasets, but one that no model has is a mistake.
    of_grid = [config.model_settings[model] for model in config.models]
    others = ", nor has another model of the grid" if len(config.models) > 1 else ""
    for head in config.heads:
        if not any(head in settings.base for settings in of_grid):
            yield f"model_settings.{config.models[0]}.base", f"no mmpose config for head {head!r}{others}"
    for dataset in config.datasets:
        if not any(dataset in settings.input_size for settings in of_grid):
            yield f"model_settings.{config.models[0]}.input_size", f"no entry for dataset {dataset!r}{others}"


def _training_problems(config: GridConfig, model: str, dataset: str) -> Iterator[tuple[str, str]]:
    """What is changed for a model is checked as what it changes."""
    (devices_from, _), *levels = config.training_levels(model, dataset)
    values = config.training.model_dump()
    for key, level in levels:
        if "device" in level:
            yield key, "device is one for all models; set training.device"
        values |= level
        _validated(Training, values, key)
        devices_from = key if "devices" in level else devices_from
    found: dict[int, float] = {}
    trained = dataset in config.datasets and dataset in config.model_settings[model].input_size
    for length in config.lengths if trained else ():
        other = found.setdefault(epochs_of(values["epochs"], length), length)
        if other != length:
            problem = f"expected lengths that differ; found {other:g} and {length:g}, both"
            yield "lengths", f"{problem} {epochs_of(values['epochs'], length)} epochs of {model} on {dataset}"
    if dataset in config.datasets and values["batch_size"] % values["devices"]:
        expected = f"expected a divisor of the batch size of {model} on {dataset}, {values['batch_size']}"
        yield f"{devices_from}.devices", f"{expected}; found {values['devices']}"


def _loss_problems(config: GridConfig) -> Iterator[tuple[str, str]]:
    """Losses must be registered, or be variants of such, with parameters that they take."""
    from rspose.losses import available, load, unusable

    for source in config.losses_from:
        try:
            load(source)
        except ImportError as error:  # of no concern to cells that do not need it
            print(f"warning: config key 'losses_from': {error}", file=sys.stderr)
        except ValueError as error:
            yield "losses_from", str(error)

    def unknown(loss: str, known: Iterable[str]) -> str:
        return unusable().get(loss, f"unknown loss {loss!r}; expected one of {', '.join(known)}")

    registered = available()
    names = list(dict.fromkeys((*registered, *config.loss_settings)))
    for loss in config.losses:
        if loss not in names:
            yield "losses", unknown(loss, names)
    for name, change in config.loss_settings.items():
        key, loss = f"loss_settings.{name}", change.loss or name
        if change.sum and (change.loss or change.parameters):
            yield f"{key}.sum", "stands in place of loss and parameters; take those away"
        if change.sum:
            yield from _parameter_problems(f"{key}.sum", "sum", {"parts": change.parts})
        elif loss in registered:
            yield from _parameter_problems(f"{key}.parameters", loss, change.parameters)
        elif loss not in unusable() or name in config.losses:
            yield key, unknown(loss, registered)
    if not config.cells():
        serves = [
            f"{loss!r} serves {', '.join(config.served_heads(loss, 'heatmap'))}" for loss in config.losses
        ]
        yield "heads", f"the grid is empty: found {', '.join(config.heads)}; {'; '.join(serves)}"


def _parameter_problems(key: str, loss: str, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from rspose.losses import build, parameters

    known = parameters(loss)
    for name, value in given.items():
        if name not in known:
            yield key, f"unknown parameter {name!r} of loss {loss!r}; allowed: {', '.join(known) or 'none'}"
        elif _KINDS.get(type(known[name])) == "number" and _KINDS.get(type(value)) != "number":
            yield f"{key}.{name}", f"expected a number; found {value!r}"
    try:
        build(loss, given, num_keypoints=1)
    except (TypeError, ValueError) as error:
        yield key, str(error)
