"""Many records: a folder has a JSON file for each, a packed file (``*.jsonl.xz``) a line.

A cell that failed has a file ``*.failed.json``. What a record says of itself counts, not its place: folders
of several machines can be laid beside each other.
"""

import json
import lzma
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rspose.grid.cell import Cell
from rspose.grid.files import replacing, write_json
from rspose.grid.record import MOST_BYTES, Failure, Record, RecordError
from rspose.grid.replicates import coarser

PACKED = ".jsonl.xz"
CHOICES = "choices.json"
_FAILED = ".failed.json"
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "pb": 0}]  # for text


def record_files(*places: Path) -> list[Path]:
    """Every JSON file and packed file at the places, folders or packed files; in their order, then by path.

    The :data:`CHOICES` of a reference lie beside its records and are none.

    Raises:
        FileNotFoundError: If there is no such folder or file.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            files = sorted(path for ending in (".json", PACKED) for path in place.rglob(f"*{ending}"))
            # Hidden ones are still being written, or were when their job was killed.
            found += [path for path in files if path.name != CHOICES and not path.name.startswith(".")]
        elif place.is_file() and place.name.endswith(PACKED):
            found.append(place)
        else:
            raise FileNotFoundError(
                f"no folder of records at {place}, nor a file *{PACKED}: run the cells first, or name another"
            )
    return found


def load_failures(records: Iterable[Record], *places: Path) -> list[Failure]:
    """The cells at the places of :func:`record_files` that failed and are not in ``records``, sorted."""
    finished = {record.cell for record in records}
    notes = [file for file in record_files(*places) if file.name.endswith(_FAILED)]
    failures = {failure.cell: failure for failure in _read(Failure, notes)}
    return [failures[cell] for cell in sorted(failures) if cell not in finished]


def load_records(*places: Path) -> list[Record]:
    """Every usable record at the places of :func:`record_files`.

    What cannot be used is left out with one line on stderr: a damaged or foreign file, and all cells with two
    records whose scores disagree (neither is used: nothing says which is right). Of equal records of one cell
    the first by path is used, one with a bootstrap before one without, and then one with a diagnosis.
    """
    found: dict[Cell, list[Record]] = {}
    for record in _read(Record, (file for file in record_files(*places) if not file.name.endswith(_FAILED))):
        found.setdefault(record.cell, []).append(record)
    disagreeing = {cell: problem for cell, records in found.items() if (problem := _disagreement(records))}
    if disagreeing:
        cell, problem = next(iter(disagreeing.items()))
        others = f" ({len(disagreeing) - 1} more cells like it)" if len(disagreeing) > 1 else ""
        print(f"cell left out: {cell} has two records that disagree: {problem}{others}", file=sys.stderr)
    return [
        min(records, key=lambda record: (record.bootstrap is None, record.diagnosis is None))
        for cell, records in found.items()
        if cell not in disagreeing
    ]


def pack(records: Sequence[Record], path: Path, coarse: bool = False) -> None:
    """Write records into one compressed file, by dataset, model, head, loss and seed.

    ``coarse`` keeps replicates to 1/256 only, in half the size.

    Raises:
        ValueError: If the file's name does not end with ``.jsonl.xz``.
    """
    if not path.name.endswith(PACKED):
        raise ValueError(f"{path}: expected a name that ends with {PACKED}")
    with replacing(path) as temporary, lzma.open(temporary, "wt", filters=_XZ, encoding="utf-8") as stream:
        for record in sorted(records, key=lambda record: record.cell):
            content = record.content
            if coarse and record.bootstrap is not None:
                values = {name: coarser(text) for name, text in record.bootstrap.values.items()}
                content = {**content, "bootstrap": {**content["bootstrap"], "values": values}}
            stream.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


def unpack(records: Sequence[Record], folder: Path) -> None:
    """Write each record into a JSON file of its own, placed below ``folder`` as the workflow places it."""
    for record in records:
        write_json(folder / record.place, record.content)


M = TypeVar("M", Record, Failure)


def _read(kind: type[M], files: Iterable[Path]) -> Iterator[M]:
    for file in files:
        try:
            for path, text in _texts(file):
                try:
                    yield kind.read(path, text)
                except RecordError as error:
                    print(f"{kind.__name__.lower()} left out: {error}", file=sys.stderr)
        except (OSError, EOFError, lzma.LZMAError) as error:
            print(f"{kind.__name__.lower()} left out: {file}: not readable ({error})", file=sys.stderr)


def _texts(file: Path) -> Iterator[tuple[Path, bytes]]:
    if not file.name.endswith(PACKED):
        yield file, file.read_bytes()
        return
    with lzma.open(file) as stream:
        number = 0
        while line := stream.readline(MOST_BYTES + 1):
            number += 1
            yield Path(f"{file}:{number}"), line
            if len(line) > MOST_BYTES:
                return


def _disagreement(records: list[Record]) -> str | None:
    """In what two records of a cell disagree; None if all agree."""
    first = records[0]
    for other in records[1:]:
        for name in sorted({*first.scores, *other.scores}):
            ours, theirs = first.scores.get(name), other.scores.get(name)
            if not name.startswith("metrics.") and None in (ours, theirs):
                continue  # an older version did not ask for it
            if ours != theirs:
                return (
                    f"{name} is {ours} in {first.path} and {theirs} in {other.path}; remove the wrong one, "
                    "or name one of their places alone"
                )
    return None
