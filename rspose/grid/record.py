"""The record of a finished cell: what was measured, and everything that says how far to trust it.

One model for the step that writes it and all that read it: a JSON object with the keys of :class:`Record`;
further ones are kept in ``content``. A cell that failed has a :class:`Failure` instead.
"""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import AliasPath, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rspose.datasets import DATASETS
from rspose.datasets.manifest import read_manifest
from rspose.grid.cell import Cell
from rspose.grid.config import SEEDED, GridConfig
from rspose.grid.fields import Name, Seed, expecting, first_mistake
from rspose.grid.files import write_json
from rspose.grid.machine import cpu_name
from rspose.grid.replicates import decode, ends
from rspose.grid.tuning import read_choice

FORMAT = 2
MOST_BYTES = 2**25
CONTROLS = {
    "oracle": ("Oracle keypoints", "the annotated keypoints of the person that each box overlaps most"),
    "mean_pose": ("Mean pose", "the mean training pose, stretched into every box"),
}
# By tables, and by the mean over datasets.
_TAKEN = "all, calibration, claimed, confidence, diagnosis, differences, lengths, main, readings"
# Means over keypoint types or halves of the images: replicates of few images lack some of them.
_MEANS = tuple(f"confidence.{branch}." for branch in ("within_types", "type_constants", "calibrated"))
_PACKAGES = "torch torchvision mmpose onedl-mmengine mmcv-lite numpy xtcocotools opencv-python-headless"
_EXPECTED = {  # in JSON's words
    **dict.fromkeys(("model_type", "dict_type", "named_tuple_type"), "an object"),
    "int_type": "a whole number",
    "extra_forbidden": "no such key",
}


class RecordError(ValueError):
    """A file that is not a record this version can read; the message names it and what is wrong with it."""


def _is_within(lowest: int, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= 1


def _are_equally_long(columns: Iterable[tuple[str, list[Any]]]) -> bool:
    return len({len(values) for _, values in columns}) == 1


def _is_curve(curve: dict[str, list[float]]) -> bool:
    if not curve:
        return True
    steps = curve.get("iteration", [])
    rises = all(before < after for before, after in pairwise([-1.0, *steps]))
    return "loss" in curve and len(steps) > 0 and rises and _are_equally_long(curve.items())


def _has_means_where_it_counts(calibration: "Calibration") -> bool:
    bins = zip(calibration.confidence, calibration.quality, calibration.count, strict=True)
    return all({confidence is None, quality is None} == {not count} for confidence, quality, count in bins)


T = TypeVar("T")
Maybe = Annotated[T | None, expecting("a value, or no such key", lambda value: value is not None)]
"""What some records lack: MPII has no detections, older versions wrote less. It is there or it is not."""
Fraction = Annotated[float, expecting("a fraction from 0 to 1", partial(_is_within, 0), before=True)]
Signed = Annotated[float, expecting("a fraction from -1 to 1", partial(_is_within, -1), before=True)]
_is_change = partial(re.match, "[A-Za-z_][A-Za-z0-9_.]*=")
Change = Annotated[str, expecting("a change as training.epochs=2", _is_change)]
# They stand in a command that people copy.
_is_place = re.compile("(?!-)(?!.*://).+").fullmatch
Place = Annotated[str, expecting("a path, of which no command makes an option or an address", _is_place)]
_is_day = partial(re.match, r"\d{4}-\d\d-\d\d")
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Text = Annotated[str, expecting("1 to 200 characters", lambda text: text.strip() and len(text) <= 200)]
Pair = Field(min_length=2, max_length=2)
Bins = Field(min_length=20, max_length=20)  # as evaluation makes them


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _File(_Part):
    path: Path  # of a packed file, with the line
    content: dict[str, Any]  # its JSON object, checked, in the present format

    @classmethod
    def read(cls, path: Path, text: bytes) -> Self:
        """What the file ``path`` holds, ``text``; RecordError if it is damaged or something else."""
        return cls.of(path, _parsed(path, text))

    @classmethod
    def of(cls, path: Path, content: dict[str, Any]) -> Self:
        """The same of its JSON object in the present format."""
        for key, value, expected in _unsound(content):
            raise RecordError(f"{path}: {key} is {_shown(value)}: expected {expected}")
        try:
            return cls.model_validate({**content, "path": path, "content": content})
        except ValidationError as error:
            raise RecordError(f"{path}: {_described(error, content)}") from None


class Loss(_Part):
    """The loss: its title, its source, whether something of it was filled in here, what it learned."""

    title: Text
    reference: str
    reconstruction: bool
    parameters: dict[str, Any]
    learned: dict[str, list[float]] = {}
    reading: Maybe[Text] = None


class Rank(_Part):
    """Rank correlation between confidence and quality; None where undefined."""

    spearman: Signed | None


class Correlation(Rank):
    """Correlations between confidence and quality over ``n`` pairs; None where undefined."""

    kendall: Signed | None
    pearson: Signed | None = None
    n: Count


class Calibration(_Part):
    """Means over the ``count`` pairs of each bin of confidence, from 0 to 1; None in an empty bin."""

    confidence: Annotated[list[Fraction | None], Bins]
    quality: Annotated[list[Fraction | None], Bins]
    count: Annotated[list[Count], Bins]


Means = Annotated[
    Calibration, expecting("means of the bins that count pairs, null in others", _has_means_where_it_counts)
]


class Calibrated(_Part):
    """What confidences reach after a monotone calibration that was fitted on other images."""

    keypoint_spearman: Signed | None
    pose_spearman: Signed | None
    pose_on_truth_spearman: Signed | None = None
    AP: Fraction | None = None
    AP_lost: Signed | None = None
    AP_own_threshold: Fraction | None = None


class Confidence(_Part):
    """How well confidence says quality, on the level of keypoints and of poses."""

    keypoint: Correlation
    pose: Correlation
    keypoint_on_detections: Maybe[Correlation] = None
    pose_on_truth: Maybe[Correlation] = None
    keypoint_types: dict[str, Correlation] = {}
    within_types: Maybe[Rank] = None
    between_types: Maybe[Rank] = None
    type_constants: Maybe[Rank] = None
    calibrated: dict[Literal["pooled", "by_type"], Calibrated] = {}
    calibration: dict[Literal["keypoint", "pose"], Means] = {}


class Errors(_Part):
    """Shares of the keypoints by kind of error, and what the main metric gains where a kind is repaired."""

    good: Fraction | None = None
    jitter: Fraction | None = None
    inversion: Fraction | None = None
    swap: Fraction | None = None
    miss: Fraction | None = None
    gain: dict[str, Signed | None] = {}


class Thresholds(_Part):
    """The main metric by threshold, with scores from confidences and with those of the boxes alone."""

    threshold: Annotated[list[Fraction], Field(min_length=1)]
    AP: list[Fraction | None]
    AP_box_score: list[Fraction | None]


Curves = Annotated[Thresholds, expecting("lists of the same length", _are_equally_long)]


class Pck(_Part):
    """The curve of PCK: the share of right keypoints by the fraction of the torso that counts as right."""

    limit: Annotated[list[Fraction], Field(min_length=1)]
    share: list[Fraction | None]


class Diagnosis(_Part):
    """What scoring and localisation cost, and the main metric by threshold."""

    ordering: dict[str, Signed | None] = {}
    errors: Errors = Errors()
    thresholds: dict[Literal["nms", "keypoint_score"], Curves] = {}
    pck: Maybe[Annotated[Pck, expecting("lists of the same length", _are_equally_long)]] = None


class Protocol(_Part):
    """How predictions were made and evaluated."""

    input_size: Maybe[Annotated[list[Positive], Pair]] = None
    flip_test: Maybe[bool] = None
    detection_file: str | None = None
    score_mode: Maybe[str] = None
    keypoint_score_threshold: Maybe[Fraction] = None
    nms: Maybe[str] = None
    nms_threshold: Maybe[Fraction] = None
    evaluator: Maybe[str] = None
    boxes: Maybe[Literal["derived"]] = None
    pck: Maybe[str] = None


class Bootstrap(_Part):
    """A bootstrap over images: 95 % intervals, and the replicates of what tables compare, encoded."""

    images: Count
    replicates: Annotated[int, Field(ge=2, le=100_000)]
    seed: Seed
    intervals: dict[str, Annotated[list[Signed], Pair] | None]
    values: dict[str, str]


class Data(_Part):
    """The dataset: whether it was drawn, a checksum over its files, and how many persons it has."""

    generated: bool
    checksum: Text
    train_instances: Count | None = None
    val_instances: Count | None = None


class Pretrained(_Part):
    """The file of weights that the backbone started from: tensors taken, and modules it has no place for."""

    file: Text
    matched: Count
    left_out: list[str]


class Training(_Part):
    """How the cell was trained: what its seed set, its loss and the terms by ``iteration`` as ``curve``."""

    iterations: Maybe[Positive] = None
    batch_size: Maybe[Positive] = None
    pretrained: Maybe[Pretrained] = None
    seconds: Maybe[Amount] = None
    seconds_per_iteration: Maybe[Amount] = None
    peak_memory_mb: Maybe[Amount] = None
    resumed: Maybe[bool] = None
    final_loss: dict[str, float] = {}
    seeds_vary: list[str] = list(SEEDED)
    curve: Annotated[
        dict[str, list[float]],
        expecting("lists of the same length, a loss and an iteration that rises among them", _is_curve),
    ] = {}


class Provenance(_Part):
    """What the record was made by; ``clean`` says whether the tree was as committed."""

    git_commit: str | None = None
    clean: bool | None = None
    device: Maybe[str] = None
    versions: dict[str, str | None] = {}
    created: Maybe[Annotated[str, expecting("a time as 2026-01-31T12:00:00+00:00", _is_day)]] = None


class Given(_Part):
    """What the grid was run from, so that its cells can be run again."""

    files: list[Place]
    directory: Place | None
    changes: list[Change]


class Record(_File):
    """A finished cell."""

    cell: Cell
    control: bool
    grid: Maybe[Name] = None
    config: Maybe[Given] = None
    loss: Loss
    metrics: dict[str, Fraction | None]
    confidence: Confidence
    diagnosis: Maybe[Diagnosis] = None
    protocol: Protocol
    bootstrap: Maybe[Bootstrap] = None
    data: Data
    training: Training | None
    provenance: Provenance

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for key, name in (("model", self.cell.model), ("head", self.cell.head)):
            if (name == "control") is not self.control:
                raise ValueError(
                    f'cell.{key} is {_shown(name)}: expected "control" of a control, and of nothing else'
                )
        if self.cell.dataset in _TAKEN.split(", "):
            raise ValueError(f"cell.dataset is {_shown(self.cell.dataset)}: expected none of {_TAKEN}")
        if not self.control and self.training is None:
            raise ValueError("training is null: expected an object, but for a control")
        if self.bootstrap is not None:
            self._bootstrap_fits(self.bootstrap)
        return self

    def _bootstrap_fits(self, bootstrap: Bootstrap) -> None:
        for name in bootstrap.values | bootstrap.intervals:
            score, interval = self.scores.get(name), self.interval(name)
            key, found = f"bootstrap.values.{name}", f"bootstrap.intervals.{name} is {_shown(interval)}"
            # A hair beside it, since both were rounded: by CrowdPose's evaluator to four digits.
            near = interval and interval[0] - 6e-5 <= (score or 0) <= interval[1] + 6e-5
            if interval and (score is None or not (near or name.startswith(_MEANS))):
                raise ValueError(f"{found}: expected one that holds {name}, which is {_shown(score)}")
            if name.startswith("diagnosis.") and name not in bootstrap.values:
                continue  # no table compares losses in it
            try:
                count, percentiles = ends(bootstrap.values[name])
            except (KeyError, ValueError):
                raise ValueError(f"{key}: expected replicates in base64; evaluate the cell again") from None
            if count != bootstrap.replicates:
                raise ValueError(f"{key} has {count} replicates: expected {bootstrap.replicates}")
            # Packed, replicates may be rounded to 1/256.
            pairs = zip(interval or (), percentiles or (), strict=False)
            if bool(interval) != bool(percentiles) or any(abs(a - b) > 0.005 for a, b in pairs):
                raise ValueError(f"{found}: expected the 95 % of its replicates, {_shown(percentiles)}")

    @property
    def place(self) -> Path:
        """Where the workflow puts it below the folder of records."""
        if self.control:
            return Path(self.cell.dataset, "control", f"{self.cell.loss}.json")
        return Path(f"{self.cell.path}.json")

    @cached_property
    def run(self) -> Path | None:
        """The folder of the run: records, figures and the rest; None where the file is not in its place."""
        parts, path = self.place.parts, self.path.absolute()
        return path.parents[len(parts)] if path.parts[-len(parts) :] == parts else None

    @cached_property
    def scores(self) -> dict[str, float | None]:
        """Every metric, correlation and diagnosis, as ``metrics.AP`` or ``diagnosis.errors.gain.swap``."""
        confidence = {
            level: correlation.model_dump(exclude={"n"})
            for level, correlation in self.confidence
            if isinstance(correlation, Rank)
        }
        for fit, calibrated in self.confidence.calibrated.items():
            confidence[f"calibrated.{fit}"] = calibrated.model_dump(exclude_unset=True)
        scores = {"metrics": self.metrics, "confidence": confidence}
        if self.diagnosis is not None:
            of_diagnosis = {"ordering", "errors"}
            scores["diagnosis"] = self.diagnosis.model_dump(include=of_diagnosis, exclude_unset=True)
        return dict(_flat(scores))

    @property
    def draws(self) -> tuple[int, int, int] | None:
        """Images, replicates and seed of the bootstrap over images; None in a record without one."""
        drawn = self.bootstrap
        return None if drawn is None else (drawn.images, drawn.replicates, drawn.seed)

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval over images of a score, None where the record has none."""
        ends = None if self.bootstrap is None else self.bootstrap.intervals.get(name)
        return None if ends is None else (ends[0], ends[1])

    @property
    def headline(self) -> str:
        """The main metric as tables have it, in %: ``AP 40.8 [37.7, 44.2]``, the interval over images."""
        known = DATASETS.get(self.cell.dataset)
        name = known.main_metric if known else next(iter(self.metrics))
        ends = self.interval(f"metrics.{name}")
        interval = f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else ""
        value = self.metrics[name]
        return f"{name} undefined" if value is None else f"{name} {100 * value:.1f}{interval}"

    def replicates(self, name: str) -> np.ndarray | None:
        """The replicates of a score, float64 ``[replicates]``, NaN where undefined; None without any."""
        text = None if self.bootstrap is None else self.bootstrap.values.get(name)
        return None if text is None else decode(text)


class Failure(_File):
    """A cell that failed, at which step (``train``, ...), and why, in one line."""

    cell: Cell
    rule: Text = Field(validation_alias=AliasPath("failed", "rule"))
    error: str = Field(validation_alias=AliasPath("failed", "error"))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values with their keys joined by dots."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _described(error: ValidationError, content: Any) -> str:
    keys, kind, expected, found = first_mistake(error, content)
    if kind == "value_error":
        return expected
    if kind == "missing":
        return f"the key {'.'.join((*keys, expected))} is missing"
    return f"{'.'.join(keys)} is {_shown(found)}: expected {_EXPECTED.get(kind, expected)}"


def _unsound(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any, str]]:
    """What no record may hold, since texts become tables and pages: its key, its value, what was expected."""
    if depth > 8:
        yield key, value, "a value that is not nested so deep"
    elif isinstance(value, dict):
        for name, inner in value.items():
            inner_key = f"{key}.{name}" if key else name
            if not (0 < len(name) <= 100 and name.isprintable()):
                yield key, name, "keys of 1 to 100 printable characters"
            yield from _unsound(inner, inner_key, depth + 1)
    elif isinstance(value, list):
        if len(value) > 100_000:
            yield key, value[:1], "a list of at most 100,000"
        for inner in value:
            yield from _unsound(inner, key, depth + 1)
    elif isinstance(value, str):
        most = 2**20 if key.startswith("bootstrap.values.") else 2000
        if len(value) > most or not value.isprintable():
            yield key, value, f"a line of at most {most} printable characters"
    elif isinstance(value, int | float) and not abs(value) < 1e15:
        yield key, value, "a finite number below 1e15"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    """The content of a record or a note of a failure, in the present format, not checked yet."""
    try:
        if len(text) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:  # of decoding and of JSON
        raise RecordError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict) or "format" not in content:
        raise RecordError(f'{path}: not a record: expected a JSON object with the key "format"')
    if type(content["format"]) is not int:
        raise RecordError(f"{path}: format is {_shown(content['format'])}: expected a whole number")
    if content["format"] == 1:  # it said with the commit whether the tree was clean
        provenance = content.get("provenance")
        if isinstance(provenance, dict) and isinstance(commit := provenance.get("git_commit"), str):
            clean = {"git_commit": commit.removesuffix("-dirty"), "clean": not commit.endswith("-dirty")}
            content["provenance"] = {**provenance, **clean}
        content["format"] = FORMAT
    if content["format"] != FORMAT:
        raise RecordError(
            f"{path}: record format {_shown(content['format'])}: expected {FORMAT} or 1, which this version "
            "reads; run the cell again, or read the record with the version that wrote it"
        )
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; readers differ in which value of a repeated key they take."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {_shown(key)} stands twice in one object")
        found[key] = value
    return found


def read_record(path: Path) -> Record:
    """Read and check one record; errors are those of :meth:`Record.read` and OSError."""
    return Record.read(path, path.read_bytes())


def said_of_loss(config: GridConfig, cell: Cell) -> dict[str, str]:
    """What the config says of the loss of a cell and no training depends on."""
    change = config.loss_settings.get(cell.loss)
    reading = {"reading": change.reading} if change and change.reading else {}
    return {"title": config.loss_of(cell.loss, cell.head).title, **reading}


def write_record(
    config: GridConfig,
    cell: Cell,
    scores: Path,
    training: Path | None,
    record: Path,
    said: Mapping[str, str] | None = None,
) -> Record:
    """Write the record of a cell, of what its evaluation and its training wrote; a control has no training.

    The training knows the loss, and ``said`` is what :func:`said_of_loss` returns, which needs torch: records
    are made without it.
    """
    choice = None if training is None else read_choice(config, cell)
    if training is None:
        title, reference = CONTROLS[cell.loss]
        loss = {"title": title, "reference": reference, "reconstruction": False, "parameters": {}}
        provenance, train_instances = {"device": cpu_name()}, None
    else:
        measured = json.loads(training.read_text())
        loss, provenance, train_instances = map(measured.pop, ("loss", "provenance", "train_instances"))
    content = {
        "format": FORMAT,
        "grid": config.name,
        **({"config": config.given} if config.given else {}),
        "cell": cell._asdict(),
        "control": training is None,
        "loss": {**loss, **(said or {})},
        **json.loads(scores.read_text()),
        "data": {**_data(config, cell.dataset), "train_instances": train_instances},
        "training": None if training is None else measured | ({"tuning": choice} if choice else {}),
        "provenance": {
            **provenance,
            **tree(),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in _PACKAGES.split()},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    made = Record.of(record, content)
    write_json(record, content)
    return made


def failure_note(config: GridConfig, cell: Cell, tuning: str = "") -> Path:
    """Where the note lies that a cell failed: beside the place of its record, which outdates it.

    Where its loss failed before, the step of ``tuning`` (``trial3``, ``choose``) has a note of its own there.
    """
    note = config.results / "records" / f"{cell.path}.failed.json"
    return note.with_name(f"{tuning}.failed.json") if tuning else note


def write_failure(note: Path, cell: Cell, rule: str, error: str, log: Path) -> None:
    """Note that a cell failed: at which step, why, and where more about it is."""
    line = "".join(each if each.isprintable() else "?" for each in " ".join(error.split()))
    failed = {"rule": rule, "error": line[:1000], "log": str(log)}
    write_json(note, {"format": FORMAT, "cell": cell._asdict(), "failed": failed})


def _data(config: GridConfig, dataset: str) -> dict[str, Any]:
    settings, digest = config.data[dataset], hashlib.sha256()
    manifest = read_manifest(settings.folder)  # also of a drawn dataset that a config takes for a real one
    if settings.generate is not None and manifest is not None:
        digest.update(json.dumps(manifest["files"], sort_keys=True).encode())
    else:
        for file in config.dataset_files(dataset, "train", "predict", "evaluate"):
            digest.update(file.read_bytes())
    return {"generated": manifest is not None, "checksum": digest.hexdigest()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def tree() -> dict[str, Any]:
    """The commit of this package where it lies in a repository, and whether nothing there differs from it."""
    try:
        _, commit, changed = (
            subprocess.run(
                ["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (
                ["ls-files", "--error-unmatch", Path(__file__).name],  # not in another repository
                ["rev-parse", "HEAD"],
                ["status", "--porcelain"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None, "clean": None}
    return {"git_commit": commit, "clean": not changed}
