"""What is wrong with a dataset's files: the form of every field that is used, and what numbers contradict.

The form is checked while JSON is read, by pydantic; the rest on arrays. Every finding is one line: file,
entry and field, what was expected, what was found, and how many more there are of its kind.
"""

import gc
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import BeforeValidator, Field, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from rspose.datasets.interface import Dataset

GET_AGAIN = "is the download complete? make or download the dataset again"
PERSON_CATEGORY = 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# More than this share of all boxes, keypoints or images has to contradict the rest before a file is refused:
# published annotations have a few of each kind too.
_FEW = 0.05
# How far outside of a picture still counts as inside, in parts of its size.
_MARGIN = 0.1


def _whole(value: Any) -> Any:
    """Exporters that go through tables write whole numbers as decimals."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# What a training in float32 can still square, and an array of int64 hold.
LARGEST = 1e15
_IN_RANGE = Field(ge=-LARGEST, le=LARGEST)

Number = Annotated[float, Strict(), Field(allow_inf_nan=False), _IN_RANGE]
Whole = Annotated[int, Strict(), BeforeValidator(_whole), _IN_RANGE]
Size = Annotated[Whole, Field(gt=0)]
Positive = Annotated[Number, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[Number, Field(ge=0, le=1)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]


def _object(name: str, fields: dict[str, Any]) -> Any:
    make: Any = TypedDict  # a type that is made while the program runs
    return make(name, fields)


def _list_of(item: Any, length: int | None = None) -> Any:
    return Annotated[list[item], Field(min_length=length, max_length=length)]


class _Category(TypedDict):
    id: Whole
    name: NotRequired[str]
    keypoints: NotRequired[list[str]]


class _Detection(TypedDict):
    image_id: Whole
    category_id: Whole
    bbox: Box
    score: Share


@cache
def _form(kind: str, known: Dataset) -> TypeAdapter:
    """What a file of the dataset has to look like; fields that nobody uses are left out of what is read."""
    if kind == "detections":
        return TypeAdapter(list[_Detection])
    joints = len(known.keypoints)
    if known.format == "mpii":
        person: dict[str, Any] = {
            "image": Text,
            "center": _list_of(Number, 2),
            "scale": Positive,
            "joints": _list_of(_list_of(Number, 2), joints),
            "joints_vis": _list_of(Literal[0, 1], joints),
        }
        return TypeAdapter(_list_of(_object("Person", person)))
    image: dict[str, Any] = {"id": Whole, "file_name": Text, "width": Size, "height": Size}
    if known.crowded:
        image["crowdIndex"] = Share
    person = {
        "id": Whole,
        "image_id": Whole,
        "category_id": Whole,
        "bbox": Box,
        "iscrowd": Literal[0, 1],
        "num_keypoints": Annotated[Whole, Field(ge=0)],
        "area": NotRequired[Number] if known.crowded else Number,
        **{
            name: _list_of(Number, 3 * (rows.stop - rows.start))
            for name, rows in known.keypoints.fields.items()
        },
    }
    content = {
        "images": Annotated[_list_of(_object("Image", image)), Field(min_length=1)],
        "annotations": _list_of(_object("Annotation", person)),
        "categories": list[_Category],
    }
    return TypeAdapter(_object("Content", content))


@dataclass
class Findings:
    """What was found out about a file.

    Attributes:
        path: The file.
        problems: What makes it unusable, a line each.
        notes: What one should know, a line each.
    """

    path: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, wrong: np.ndarray, entry: Callable[[int], str], says: Callable[[int], str]) -> None:
        """Add a problem if any is ``wrong``.

        Args:
            wrong: bool, its first axis over the entries.
            entry: Names the file and the entry of an index.
            says: Field, what was expected and what was found in it.
        """
        self._add(self.problems, wrong, entry, says)

    def note(self, odd: np.ndarray, entry: Callable[[int], str], says: Callable[[int], str]) -> None:
        """Add a note if any is ``odd``, as :meth:`refuse`."""
        self._add(self.notes, odd, entry, says)

    def _add(
        self, lines: list[str], chosen: np.ndarray, entry: Callable[[int], str], says: Callable[[int], str]
    ) -> None:
        at = np.flatnonzero(chosen.any(axis=tuple(range(1, chosen.ndim)))).tolist()
        if at:
            lines.append(f"{entry(at[0])}: {says(at[0])}{more(len(at) - 1)}")

    def raise_first(self) -> None:
        """Raise ``ValueError`` with the first problem, if there is one."""
        if self.problems:
            others = f" (and {len(self.problems) - 1} other problems)" if self.problems[1:] else ""
            raise ValueError(self.problems[0] + others)


def more(count: int) -> str:
    """How many more there are of a kind, as an ending."""
    return f" ({count:,} more like it)" if count else ""


def contents(path: Path) -> bytes:
    """What a file holds; a FileNotFoundError says what to do."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; check the data root, fetch the dataset (rspose data fetch) or draw it "
            "(rspose data make)"
        )
    return path.read_bytes()


def read(path: Path, kind: str, known: Dataset, findings: Findings) -> Any:
    """The fields of a JSON file that are used; None if its form is wrong, which ``findings`` then say.

    Raises:
        FileNotFoundError: If the file is not there.
    """
    raw = contents(path).removeprefix(_BYTE_ORDER_MARK)
    collects = gc.isenabled()
    gc.disable()  # millions of objects and no garbage: looking through them takes as long as making them
    try:
        return _form(kind, known).validate_json(raw)
    except ValidationError as error:
        findings.problems += _of_form(path, kind, known, raw, error)
        return None
    finally:
        if collects:
            gc.enable()


_EXPECTED = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "string_type": "a text",
    "string_too_short": "a text",
    "list_type": "a list",
    "literal_error": "0 or 1",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than_equal": "a number of at most {le:g}",
}
_ENTRIES = {
    "images": "image",
    "annotations": "annotation",
    "categories": "category",
    "detections": "detection",
    "mpii": "person",
}


def _of_form(path: Path, kind: str, known: Dataset, raw: bytes, error: ValidationError) -> list[str]:
    """Every kind of finding of the form in one line each."""
    faults = error.errors(include_url=False)
    if faults[0]["type"] == "json_invalid":
        return [f"{path}: expected JSON, found {faults[0]['ctx']['error']}; {GET_AGAIN}"]
    content = json.loads(raw)
    kinds: dict[tuple, list[Any]] = {}
    for fault in faults:
        names = tuple(part for part in fault["loc"] if isinstance(part, str))
        kinds.setdefault((names, fault["type"]), []).append(fault)
    return [
        f"{path}: {_line(first, kind, known, content)}{more(len(entries) - 1)}"
        for entries in kinds.values()
        for first in entries[:1]
    ]


def _line(fault: Any, kind: str, known: Dataset, content: Any) -> str:
    place = list(fault["loc"])
    what = "detections" if kind == "detections" else f"{known.title}'s annotations"
    if not place or (len(place) == 1 and isinstance(place[0], str)):
        wanted = "a list of MPII persons" if known.format == "mpii" else "images, annotations and categories"
        wanted = "a list of detections" if kind == "detections" else wanted
        lacks = place and fault["type"] in ("missing", "too_short")
        found = f"no {place[0]!r}" if lacks else _named(fault["input"])
        return f"expected {wanted}, found {found}; is it the file of another dataset?"
    group = place.pop(0) if isinstance(place[0], str) else None
    index = place.pop(0)
    entry = (content[group] if group else content)[index]
    name = f"{_ENTRIES[group or kind]} {index}"
    if isinstance(entry, dict) and "id" in entry:
        name += f" (id {entry['id']})"
    if not place:
        return f"{name}: expected the fields of {what}, found {_named(entry)}"
    key, *inner = place
    if fault["type"] == "missing":
        return f"{name}: key {key!r} is missing; found {', '.join(sorted(map(str, entry)))}"
    where = key + "".join(f"[{number}]" for number in inner)
    context = fault.get("ctx", {})
    if fault["type"] in ("too_short", "too_long"):
        unit = known.keypoints.fields.get(key) is not None and not inner
        size = 3 if unit and known.format == "coco" else 1
        things = "keypoints" if unit or (key == "joints" and not inner) else "numbers"
        expected = context.get("min_length", context.get("max_length")) // size
        return (
            f"{name}: {where}: expected {expected} {things}, found {len(fault['input']) / size:g}; "
            "is it the file of another dataset?"
        )
    expected = _EXPECTED.get(fault["type"], fault["msg"]).format(**context)
    return f"{name}: {where}: expected {expected}, found {_shown(fault['input'])}"


def _named(value: Any) -> str:
    return value if isinstance(value, str) else type(value).__name__


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def repeated(values: Iterable[Any]) -> np.ndarray:
    """Which of the values stood there before, bool ``[N]``."""
    values = np.asarray(list(values))
    first = np.zeros(len(values), dtype=bool)
    first[np.unique(values, return_index=True)[1]] = True
    return ~first


def check_categories(findings: Findings, known: Dataset, categories: list[dict[str, Any]]) -> None:
    """Category 1 is the person, and its keypoints are those of the dataset, in their order.

    Names that are unknown to the dataset are let pass: authors spell theirs in several ways.
    """
    body = [*known.keypoints.names[: known.keypoints.body]]
    persons = [each for each in categories if each["id"] == PERSON_CATEGORY]
    if not persons:
        found = ", ".join(str(each["id"]) for each in categories) or "none"
        findings.problems.append(
            f"{findings.path}: categories: expected one of id {PERSON_CATEGORY}, the person, found {found}"
        )
        return
    names = [
        name.strip().lower().replace(" ", "_").replace("-", "_") for name in persons[0].get("keypoints", body)
    ]
    if len(names) != len(body):
        findings.problems.append(
            f"{findings.path}: category {PERSON_CATEGORY}: keypoints: expected {len(body)} names, "
            f"found {len(names)}"
        )
        return
    for index, (name, expected) in enumerate(zip(names, body, strict=True)):
        if name != expected and name in body:
            findings.problems.append(
                f"{findings.path}: category {PERSON_CATEGORY}: keypoints[{index}]: expected {expected}, "
                f"found {name}; are they in another order than {known.title}'s?"
            )
            return


def check_boxes(findings: Findings, box: np.ndarray, size: np.ndarray, entry: Callable[[int], str]) -> None:
    """Boxes have a size, and lie in their pictures.

    Args:
        box: x, y, width, height, float64 ``[N, 4]``.
        size: Width and height of each box's picture, ``[N, 2]``; NaN where it is not known.
    """
    findings.refuse(
        box[:, 2:] < 0,
        entry,
        lambda at: f"bbox: expected x, y, width and height, found {_shown(box[at].tolist())}",
    )
    findings.note(
        (box[:, 2:] == 0).any(axis=1), entry, lambda at: "bbox: its area is 0: it is left out of training"
    )
    margin = _MARGIN * size
    outside = (box[:, :2] + box[:, 2:] > size + margin) | (box[:, :2] < -margin)
    _many(
        findings,
        outside.any(axis=1),
        entry,
        lambda at: (
            f"bbox: expected x, y, width and height within {size[at][0]:g} x {size[at][1]:g} pixels, found "
            f"{_shown(box[at].tolist())}; are they corners, or is the picture's size another?"
        ),
    )


def check_keypoints(
    findings: Findings,
    keypoints: np.ndarray,
    labelled: np.ndarray,
    box: np.ndarray,
    size: np.ndarray,
    entry: Callable[[int], str],
) -> None:
    """Labelled keypoints are pixels of their picture, and belong to their person.

    Args:
        keypoints: x, y, float64 ``[N, K, 2]``.
        labelled: bool ``[N, K]``.
        box: x, y, width, height, ``[N, 4]``.
        size: Width and height of each picture, ``[N, 2]``; NaN where it is not known.
    """
    several = labelled.sum(axis=1) >= 3
    fractions = (np.abs(keypoints) <= 1).all(axis=2) | ~labelled
    findings.refuse(
        several & fractions.all(axis=1) & (box[:, 2:] > 4).all(axis=1),
        entry,
        lambda at: (
            "keypoints: expected pixels, found numbers from 0 to 1; are they parts of the picture's size?"
        ),
    )
    margin = _MARGIN * size[:, None]
    outside: np.ndarray = ((keypoints < -margin) | (keypoints > size[:, None] + margin)).any(
        axis=2
    ) & labelled

    def found(at: int) -> str:
        joint = np.flatnonzero(outside[at]).tolist()[0]
        return (
            f"keypoints: expected places within {size[at][0]:g} x {size[at][1]:g} pixels, found "
            f"{_shown(keypoints[at][joint].tolist())}; are the picture's width and height swapped?"
        )

    _many(findings, np.asarray(outside.any(axis=1)), entry, found)
    corner, extent = box[:, None, :2], box[:, None, 2:]
    elsewhere: np.ndarray = ((keypoints < corner - extent) | (keypoints > corner + 2 * extent)).any(axis=2)
    away = np.all(elsewhere | ~labelled, axis=1)
    _many(
        findings,
        several & away & np.all(box[:, 2:] > 0, axis=1),
        entry,
        lambda at: (
            f"keypoints: expected them in the person's box {_shown(box[at].tolist())}, found all far away; "
            "is it another person's box?"
        ),
    )


def _many(
    findings: Findings, odd: np.ndarray, entry: Callable[[int], str], says: Callable[[int], str]
) -> None:
    """A few that are odd are noted, many are refused."""
    (findings.refuse if odd.sum() > max(1, _FEW * len(odd)) else findings.note)(odd, entry, says)
