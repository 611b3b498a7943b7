"""Reads the records of finished cells and collects them into one tidy table.

A record is one JSON file, ``<dataset>/<model>/<head>/<loss>/seed<seed>.json``; what it says of itself counts,
not its place, so that folders of several machines can be laid beside each other. A cell that failed has a
file ``seed<seed>.failed.json`` instead, which says why; a record of the cell outdates it.
"""

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rspose.evaluation.resampling import decode
from rspose.reporting.style import dataset_order, head_order, loss_order

FORMAT = 1
_LAYOUT: dict[str, tuple[type, ...]] = {
    "cell.dataset": (str,),
    "cell.model": (str,),
    "cell.head": (str,),
    "cell.loss": (str,),
    "cell.seed": (int,),
    "control": (bool,),
    "loss.title": (str,),
    "loss.reference": (str,),
    "loss.reconstruction": (bool,),
    "loss.parameters": (dict,),
    "metrics": (dict,),
    "confidence.keypoint": (dict,),
    "confidence.pose": (dict,),
    "protocol": (dict,),
    "data.generated": (bool,),
    "data.checksum": (str,),
    "training": (dict, type(None)),
    "provenance": (dict,),
}
# Records of earlier versions do not say what their grid was run from.
_CONFIG_LAYOUT: dict[str, tuple[type, ...]] = {
    "config.files": (list,),
    "config.directory": (str, type(None)),
    "config.changes": (list,),
}
# Records of earlier versions have no bootstrap: their numbers stand without an interval.
_BOOTSTRAP_LAYOUT: dict[str, tuple[type, ...]] = {
    "bootstrap.images": (int,),
    "bootstrap.replicates": (int,),
    "bootstrap.seed": (int,),
    "bootstrap.intervals": (dict,),
    "bootstrap.values": (dict,),
}
_FAILURE_LAYOUT: dict[str, tuple[type, ...]] = {
    **{key: types for key, types in _LAYOUT.items() if key.startswith("cell.")},
    "failed.rule": (str,),
    "failed.error": (str,),
}
_FAILURE_SUFFIX = ".failed.json"
_SPREAD_OUT = {"format", "cell", "control", "loss", "metrics", "confidence", "diagnosis", "bootstrap"}
# Not in every record: MPII has no detections, and older versions wrote less.
_LEVELS = ("keypoint", "pose", "keypoint_on_detections", "pose_on_truth")
_ERRORS = ("good", "jitter", "inversion", "swap", "miss")
_TYPE_NAMES = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


class Cell(NamedTuple):
    """What was trained: the key of a record."""

    dataset: str
    model: str
    head: str
    loss: str
    seed: int


@dataclass(frozen=True)
class Record:
    """A finished cell.

    Attributes:
        path: The file it was read from.
        content: The file's JSON object, checked.
    """

    path: Path
    content: dict[str, Any]

    @property
    def cell(self) -> Cell:
        """The cell this is the record of."""
        return Cell(**self.content["cell"])

    @property
    def run(self) -> Path | None:
        """The folder of the run: records, figures and the rest; None where the file is not in its place."""
        place = Path(*self.cell[:4], f"seed{self.cell.seed}.json").parts
        if self.content["control"]:
            place = Path(self.cell.dataset, "control", f"{self.cell.loss}.json").parts
        return self.path.parents[len(place)] if self.path.parts[-len(place) :] == place else None

    @property
    def scores(self) -> dict[str, float | None]:
        """Every metric, correlation and diagnosis, as ``metrics.AP`` or ``diagnosis.errors.gain.swap``.

        Older records have no Pearson correlations and no diagnosis.
        """
        scores = {f"metrics.{name}": value for name, value in self.content["metrics"].items()}
        confidence, diagnosis = self.content["confidence"], self.content.get("diagnosis", {})
        for level in _LEVELS:
            for name in ("spearman", "kendall", "pearson"):
                scores[f"confidence.{level}.{name}"] = confidence.get(level, {}).get(name)
        for name, value in diagnosis.get("ordering", {}).items():
            scores[f"diagnosis.ordering.{name}"] = value
        errors = diagnosis.get("errors", {})
        scores |= {f"diagnosis.errors.{name}": errors[name] for name in _ERRORS if name in errors}
        scores |= {f"diagnosis.errors.gain.{name}": value for name, value in errors.get("gain", {}).items()}
        return scores

    @property
    def draws(self) -> tuple[int, int, int] | None:
        """Images, replicates and seed of the bootstrap over images; None in a record without one."""
        if "bootstrap" not in self.content:
            return None
        bootstrap = self.content["bootstrap"]
        return bootstrap["images"], bootstrap["replicates"], bootstrap["seed"]

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval over images of a score, None where the record has none."""
        ends = self.content.get("bootstrap", {}).get("intervals", {}).get(name)
        return None if ends is None else (ends[0], ends[1])

    def replicates(self, name: str) -> np.ndarray | None:
        """The replicates of a score, float64 ``[replicates]``, NaN where undefined; None without any."""
        text = self.content.get("bootstrap", {}).get("values", {}).get(name)
        return None if text is None else decode(text)


@dataclass(frozen=True)
class Failure:
    """A cell that failed.

    Attributes:
        path: The file that says so.
        cell: The cell.
        rule: The step that failed (``train``, ...).
        error: Why, in one line.
    """

    path: Path
    cell: Cell
    rule: str
    error: str


class RecordError(ValueError):
    """A file that is not a record this version can read; the message names it and what is wrong with it."""


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict) or "format" not in content:
        raise RecordError(f'{path}: not a record: expected a JSON object with the key "format"')
    if content["format"] != FORMAT:
        raise RecordError(
            f"{path}: record format {content['format']!r}: expected {FORMAT}, the one this version reads; "
            "run the cell again"
        )
    return content


def _check_layout(path: Path, content: dict[str, Any], layout: dict[str, tuple[type, ...]]) -> None:
    for key, types in layout.items():
        _require(path, content, key, types)
    if set(content["cell"]) != set(Cell._fields):
        raise RecordError(
            f"{path}: cell has the keys {sorted(content['cell'])}: expected {list(Cell._fields)}"
        )


def read_record(path: Path) -> Record:
    """Read and check one record.

    Raises:
        RecordError: If the file is damaged, is something else, or was written in another format.
    """
    content = _read(path)
    layouts = {"bootstrap": _BOOTSTRAP_LAYOUT, "config": _CONFIG_LAYOUT}
    for layout in (_LAYOUT, *(layout for key, layout in layouts.items() if key in content)):
        _check_layout(path, content, layout)
    for key in ("files", "changes"):
        for text in content.get("config", {}).get(key, []):
            if not isinstance(text, str):
                raise RecordError(f"{path}: config.{key} holds {text!r}: expected texts")
    record = Record(path, content)
    if content["control"] and not record.cell.model == record.cell.head == "control":
        raise RecordError(f'{path}: a control record with model {record.cell.model!r}: expected "control"')
    for name, value in record.scores.items():
        _require_score(path, name, value)
    for name in content.get("bootstrap", {}).get("intervals", {}):
        _require_bootstrap(record, name)
    return record


def _read_failure(path: Path) -> Failure:
    content = _read(path)
    _check_layout(path, content, _FAILURE_LAYOUT)
    return Failure(path, Cell(**content["cell"]), content["failed"]["rule"], content["failed"]["error"])


def record_files(*folders: Path) -> list[Path]:
    """Every JSON file under the folders, in their order and then by path.

    Raises:
        FileNotFoundError: If a folder does not exist.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no folder of records at {folder}: run the cells first, or name another folder"
            )
    return [path for folder in folders for path in sorted(folder.rglob("*.json"))]


def load_failures(records: Iterable[Record], *folders: Path) -> list[Failure]:
    """The cells under the folders that failed and have no record, by dataset, model, head, loss and seed.

    Args:
        records: The records under the folders.
        folders: Folders of records.

    Raises:
        FileNotFoundError: If a folder does not exist.
    """
    finished = {record.cell for record in records}
    failures: dict[Cell, Failure] = {}
    for path in record_files(*folders):
        if path.name.endswith(_FAILURE_SUFFIX):
            try:
                failure = _read_failure(path)
            except RecordError as error:
                print(f"failure left out: {error}", file=sys.stderr)
            else:
                failures[failure.cell] = failure
    return [failures[cell] for cell in sorted(failures) if cell not in finished]


def load_records(*folders: Path) -> list[Record]:
    """Every usable record under the folders, in the order of the tables.

    What cannot be used is left out with one line on stderr: damaged and foreign files, and cells with two
    records whose scores disagree (neither is used: nothing says which is right). Of equal records of one cell
    the first by path is used, one with a bootstrap before one without, and then one with a diagnosis.

    Raises:
        FileNotFoundError: If a folder does not exist.
    """
    found: dict[Cell, list[Record]] = {}
    for path in record_files(*folders):
        if path.name.endswith(_FAILURE_SUFFIX):
            continue
        try:
            record = read_record(path)
        except RecordError as error:
            print(f"record left out: {error}", file=sys.stderr)
        else:
            found.setdefault(record.cell, []).append(record)
    agreeing = [
        min(records, key=lambda record: (record.draws is None, "diagnosis" not in record.content))
        for records in found.values()
        if _agree(records)
    ]
    return sorted(agreeing, key=_order)


def collect(*folders: Path) -> pd.DataFrame:
    """The usable records under the folders as a tidy table, see :func:`load_records`.

    Returns:
        One row a record. Columns: ``dataset``, ``model``, ``head``, ``loss``, ``seed``, ``control``, and the
        rest of the record with its keys joined by dots (``metrics.AP``, ``training.iterations``), the
        bootstrap as ``bootstrap.images`` and the ends of its intervals (``bootstrap.metrics.AP.low``). Lists,
        and the parameters of the loss, are JSON text. Scores are fractions; a missing one is NaN.
    """
    return tidy(load_records(*folders))


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """The tidy table of :func:`collect` for records already read."""
    rows = []
    for record in records:
        content = record.content
        row: dict[str, Any] = {**record.cell._asdict(), "control": content["control"]}
        row |= {f"loss.{key}": value for key, value in content["loss"].items()}
        row["loss.parameters"] = json.dumps(content["loss"]["parameters"], sort_keys=True)
        row |= record.scores
        for level in ("keypoint", "pose"):
            row[f"confidence.{level}.n"] = content["confidence"][level].get("n")
        row |= {key: value for key, value in content.items() if key not in _SPREAD_OUT and value is not None}
        if record.draws is not None:
            row["bootstrap.images"] = record.draws[0]
            for name in record.scores:
                if (interval := record.interval(name)) is not None:
                    row[f"bootstrap.{name}.low"], row[f"bootstrap.{name}.high"] = interval
        # A curve is drawn, not tabulated.
        row["training"] = {key: value for key, value in (content["training"] or {}).items() if key != "curve"}
        rows.append(row)
    table = pd.json_normalize(rows)
    for name in table.columns:
        if table[name].map(lambda value: isinstance(value, list)).any():
            table[name] = table[name].map(
                lambda value: json.dumps(value) if isinstance(value, list) else value
            )
    scores = [name for name in table.columns if name.startswith(("metrics.", "confidence.", "diagnosis."))]
    table[scores] = table[scores].astype(float)
    return table


def write_collected(table: pd.DataFrame, path: Path) -> None:
    """Write the table of :func:`collect` as CSV, numbers in full precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def _require(path: Path, content: dict[str, Any], key: str, types: tuple[type, ...]) -> None:
    value: Any = content
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise RecordError(f"{path}: the key {key} is missing")
        value = value[part]
    # A bool is an int to Python, not to a reader of a record.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        expected = " or ".join(_TYPE_NAMES[expected_type] for expected_type in types)
        raise RecordError(f"{path}: {key} is {value!r}: expected {expected}")


def _require_score(path: Path, name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RecordError(f"{path}: {name} is {value!r}: expected a finite number or null")
    lowest = 0 if name.startswith("metrics.") else -1
    if not lowest <= value <= 1:
        raise RecordError(f"{path}: {name} is {value!r}: expected a fraction from {lowest} to 1")


def _require_bootstrap(record: Record, name: str) -> None:
    """An interval is two numbers in order, or null; its replicates are as many as the record says."""
    path, bootstrap = record.path, record.content["bootstrap"]
    ends = bootstrap["intervals"][name]
    if ends is not None:
        if not isinstance(ends, list) or len(ends) != 2:
            raise RecordError(f"{path}: bootstrap.intervals.{name} is {ends!r}: expected two numbers or null")
        for end in ends:
            _require_score(path, f"bootstrap.intervals.{name}", end)
    if name.startswith("diagnosis."):  # no table compares losses in it: its replicates are not kept
        return
    try:
        count = len(decode(bootstrap["values"][name]))
    except (KeyError, TypeError, ValueError):
        raise RecordError(
            f"{path}: bootstrap.values.{name}: expected replicates in base64; evaluate the cell again"
        ) from None
    if count != bootstrap["replicates"]:
        raise RecordError(
            f"{path}: bootstrap.values.{name} has {count} replicates: expected {bootstrap['replicates']}"
        )


def _agree(records: list[Record]) -> bool:
    first = records[0]
    for other in records[1:]:
        for name in sorted({*first.scores, *other.scores}):
            ours, theirs = first.scores.get(name), other.scores.get(name)
            if not name.startswith("metrics.") and None in (ours, theirs):
                continue  # an older version did not ask for it
            if ours != theirs:
                cell = "/".join(map(str, first.cell))
                print(
                    f"cell left out: {cell} has two records that disagree: {name} is {ours} in {first.path} "
                    f"and {theirs} in {other.path}; remove the wrong one",
                    file=sys.stderr,
                )
                return False
    return True


def _order(record: Record) -> tuple[object, ...]:
    cell, control = record.cell, record.content["control"]
    return (
        dataset_order(cell.dataset),
        control,
        cell.model,
        head_order(cell.head),
        loss_order(cell.loss, control),
        cell.seed,
    )
