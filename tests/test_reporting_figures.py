"""Sheets: panels and labels, drawing where the crop's affine map says, clear words on bad files."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from builders.records import GREY, HEIGHT, WIDTH, predictions, samples, saved

from rspose.datasets.coco import COCO
from rspose.datasets.mpii import MPII
from rspose.reporting.figures import Entry, make_heatmap_sheet, make_sheet
from rspose.reporting.style import SIDE_COLOURS, loss_colour

SVG = "{http://www.w3.org/2000/svg}"


def rgb(colour: str) -> np.ndarray:
    """A colour written #RRGGBB, in [0, 1]."""
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255


class Sheet:
    """A sheet that was drawn.

    Attributes:
        rows: Of each row its group of the SVG.
    """

    def __init__(
        self,
        make: Callable[..., list[Path]],
        folder: Path,
        entries: Sequence[Entry],
        dataset: str = "coco",
        **options: Any,
    ) -> None:
        png, svg = make(dataset, entries, folder / "sheet.png", **options)
        self.rows = ElementTree.parse(svg).getroot().findall(f"{SVG}g")
        self._image = cv2.imread(str(png))[..., ::-1] / 255

    def panels(self, row: int) -> list[ElementTree.Element]:
        """The drawings of a row."""
        return self.rows[row].findall(f"{SVG}svg")

    def labels(self, row: int) -> list[str]:
        """The lines before a row."""
        return [text.text or "" for text in self.rows[row].findall(f"{SVG}text")]

    def scale(self, row: int) -> list[float]:
        """Highest and lowest value at the colour bar of a row."""
        return [float(text.text or "") for text in self.rows[row].findall(f"{SVG}g/{SVG}text")]

    def colour_at(self, row: int, panel: int, x: float, y: float) -> np.ndarray:
        """Rendered colour in [0, 1] at pixel (x, y) of a panel's crop of WIDTH x HEIGHT pixels."""
        left, top = map(float, re.findall(r"[\d.]+", self.rows[row].attrib["transform"]))
        box = self.panels(row)[panel].attrib
        column = left + float(box["x"]) + (x + 0.5) / WIDTH * float(box["width"])
        line = top + (y + 0.5) / HEIGHT * float(box["height"])
        return self._image[round(2 * line), round(2 * column)]


@pytest.mark.slow
def test_a_sheet_has_a_row_for_the_truth_and_each_cell_and_a_column_an_instance(tmp_path: Path) -> None:
    entries = [
        saved(tmp_path / f"{loss}{head}", samples(5), predictions(6), loss=loss, head=head)
        for loss in ("mse", "kl")
        for head in ("heatmap", "simcc")
    ]
    for make, shape in (
        (make_sheet, (5, 5)),
        (make_heatmap_sheet, (4, 5)),
    ):
        sheet = Sheet(make, tmp_path, entries)
        assert [len(sheet.panels(row)) for row in range(len(sheet.rows))] == [shape[1]] * shape[0]


@pytest.mark.parametrize("make", [make_sheet, make_heatmap_sheet])
def test_files_are_written_and_the_same_each_time(tmp_path: Path, make: Callable[..., list[Path]]) -> None:
    entries = [saved(tmp_path / "a", samples(1), predictions())]
    first, second = (make("coco", entries, tmp_path / name / "sheet.png") for name in ("first", "second"))
    assert [path.name for path in first] == ["sheet.png", "sheet.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")


def test_rows_are_labelled_and_stand_in_canonical_order(tmp_path: Path) -> None:
    drawn, predicted = samples(1), predictions()
    scored: dict[str, Any] = {"title": "A & B", "reconstruction": True, "metrics": {"AP": 0.4512}}
    entries = [
        saved(tmp_path / "c", drawn, predicted, loss="rspose", **scored),
        saved(tmp_path / "b", drawn, predicted, head="simcc", metrics={"AP": 0.5}),
        saved(tmp_path / "a", drawn, predicted, metrics={}),
    ]
    labels = [["MSE", "2D"], ["MSE", "1D · AP 50.0"], ["A & B †", "2D · AP 45.1"]]
    for make, first in ((make_sheet, [["Truth"]]), (make_heatmap_sheet, [])):
        sheet = Sheet(make, tmp_path, entries)
        assert [sheet.labels(row) for row in range(len(sheet.rows))] == [*first, *labels]


def test_several_models_and_other_metrics_are_said_in_the_labels(tmp_path: Path) -> None:
    count = len(MPII.keypoints)
    entries = [
        saved(
            *(tmp_path / model, samples(1, count), predictions(keypoints=count)),
            dataset="mpii",
            model=model,
            metrics={"PCKh": 0.8, "PCKh@0.1": 0.2},
        )
        for model in ("small", "large")
    ]
    sheet = Sheet(make_heatmap_sheet, tmp_path, entries, "mpii")
    assert [sheet.labels(row)[1:] for row in (0, 1)] == [
        ["2D · PCKh 80.0", name] for name in ("large", "small")
    ]


def predicted(instance: int, **keypoints: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Predictions of some keypoints of one instance: x and y in the image, and confidence."""
    found = predictions()
    for name, (x, y, confidence) in keypoints.items():
        k = COCO.keypoints.names.index(name)
        found["keypoints"][instance + 1, k] = (x, y)  # the rows of the instances are 1, 2, ...
        found["confidence"][instance + 1, k] = confidence
    return found


def test_a_predicted_keypoint_lands_where_the_affine_map_puts_it(tmp_path: Path) -> None:
    # (60, 100) in the image is (60 / 2 - 10, 100 / 2 - 20) = (20, 30) in the crop.
    entry = saved(tmp_path, samples(), predicted(1, left_wrist=(60, 100, 1)))
    sheet = Sheet(make_sheet, tmp_path, [entry])
    assert sheet.colour_at(1, 1, 20, 30) == pytest.approx(rgb(SIDE_COLOURS["left"]), abs=0.02)
    for panel, x, y in ((1, 26, 30), (1, 20, 36), (0, 20, 30), (2, 20, 30)):
        assert sheet.colour_at(1, panel, x, y) == pytest.approx([GREY / 255] * 3, abs=0.02)


def test_limbs_join_keypoints_in_the_colour_of_their_side(tmp_path: Path) -> None:
    for first, second, side in (
        ("left_hip", "left_knee", "left"),
        ("right_hip", "right_knee", "right"),
        ("left_hip", "right_hip", "middle"),
    ):
        ends = {first: (40, 80, 1), second: (80, 60, 1)}
        sheet = Sheet(make_sheet, tmp_path, [saved(tmp_path, samples(1), predicted(0, **ends))])
        # Half way between (10, 20) and (30, 10) in the crop.
        assert sheet.colour_at(1, 0, 20, 15) == pytest.approx(rgb(SIDE_COLOURS[side]), abs=0.03)


def test_confidence_is_opacity(tmp_path: Path) -> None:
    shown = predicted(0, right_wrist=(60, 100, 0.9), left_elbow=(90, 60, 0.2))
    sheet = Sheet(make_sheet, tmp_path, [saved(tmp_path, samples(1), shown)])
    for x, y, side, confidence in ((20, 30, "right", 0.9), (35, 10, "left", 0.2)):
        full = rgb(SIDE_COLOURS[side]) - GREY / 255
        # Limbs go from the middle of a keypoint to others, which are far above on the left.
        found = (sheet.colour_at(1, 0, x + 0.2, y + 0.2) - GREY / 255) @ full / (full @ full)
        assert found == pytest.approx(0.15 + 0.85 * confidence, abs=0.03)


def test_truth_shows_what_is_annotated_and_marks_what_is_hidden(tmp_path: Path) -> None:
    drawn = samples(1)
    for name, x, y, visible in (("left_wrist", 40, 60, 2), ("right_wrist", 60, 100, 1), ("nose", 80, 60, 0)):
        drawn["truth_keypoints"][0, COCO.keypoints.names.index(name)] = (x, y, visible)
    sheet = Sheet(make_sheet, tmp_path, [saved(tmp_path, drawn, predictions())])
    assert sheet.colour_at(0, 0, 10, 10) == pytest.approx(rgb(SIDE_COLOURS["left"]), abs=0.02)
    assert sheet.colour_at(0, 0, 20, 30) == pytest.approx([1, 1, 1], abs=0.02)
    assert sheet.colour_at(0, 0, 30, 10) == pytest.approx([GREY / 255] * 3, abs=0.02)


@pytest.mark.parametrize(("columns", "rows"), [(12, 16), (96, 128)])
def test_a_heatmap_lies_on_the_crop_pixels_it_speaks_of(tmp_path: Path, columns: int, rows: int) -> None:
    drawn = samples(1)
    # One bright pixel a quarter across and half down: pixel i of a map is centred at i strides of the crop.
    drawn["heatmap"] = np.zeros((1, len(COCO.keypoints), rows, columns), dtype=np.float16)
    drawn["heatmap"][0, 3, rows // 2, columns // 4] = 1
    sheet = Sheet(make_heatmap_sheet, tmp_path, [saved(tmp_path, drawn, predictions())])
    stride = WIDTH / columns
    # Nearly to the edges of the map's pixel, where it can be resolved.
    reach = 0.4 * stride if stride > 1 else 0
    for dx, dy in ((0, 0), (reach, 0), (-reach, 0), (0, reach), (0, -reach)):
        peak = sheet.colour_at(0, 0, WIDTH / 4 + dx, HEIGHT / 2 + dy)
        assert peak[:2].min() > 0.75 > peak[2]  # the bright yellow end of the scale
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        beside = sheet.colour_at(0, 0, WIDTH / 4 + dx * max(stride, 1), HEIGHT / 2 + dy * max(stride, 1))
        assert np.ptp(beside) < 0.05  # the grey of the crop


def test_each_row_of_heatmaps_has_its_own_scale(tmp_path: Path) -> None:
    entries = []
    for loss, low, high in (("mse", -0.25, 0.5), ("rspose", 0.5, 1.0), ("kl", -0.00023, 0.8125)):
        drawn = samples(2)
        drawn["heatmap"][:] = low
        drawn["heatmap"][1, 4, 3, 2] = high
        entries.append(saved(tmp_path / loss, drawn, predictions(), loss=loss))
    sheet = Sheet(make_heatmap_sheet, tmp_path, entries)
    assert [sheet.scale(row) for row in (0, 1, 2)] == [[0.5, -0.25], [0.812, 0], [1.0, 0.5]]
    # Both rows reach from the same dark to the same bright, whatever their values are.
    for place in ((10, 10), (8, 12)):
        assert sheet.colour_at(0, 1, *place) == pytest.approx(sheet.colour_at(1, 1, *place), abs=0.01)


def test_heatmaps_that_are_not_finite_are_survived(tmp_path: Path) -> None:
    drawn = samples(2)
    drawn["heatmap"][:] = np.nan
    assert Sheet(make_heatmap_sheet, tmp_path, [saved(tmp_path, drawn, predictions())]).scale(0) == [1, 0]


_SHAPE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }"
NUMPY = b"\x93NUMPY\x01\x00\x76\x00" + _SHAPE.ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"crop_matrix": None}, r"samples\.npz: not usable \(the array crop_matrix is missing\)"),
        ({"confidence": None}, r"predictions\.npz: not usable \(the array confidence is missing\)"),
        (predictions(2), r"samples\.npz: box_index 3 is outside the 2 rows of .*predictions\.npz"),
        (predictions(keypoints=14), r"predictions\.npz: 14 keypoints: expected the 17 of coco"),
        (samples(0), r"samples\.npz: holds no instance to draw"),
        ({"samples.npz": b"PK\x03\x04 and no more"}, r"samples\.npz: not usable"),
        ({"predictions.npz": b"not an archive"}, r"predictions\.npz: not usable"),
        ({"samples.npz": NUMPY}, r"samples\.npz: not usable"),
        ({"predictions.npz": None}, r"predictions\.npz: not usable \(.*No such file"),
    ],
)
def test_a_file_that_cannot_be_drawn_is_named_in_one_line(
    tmp_path: Path, damage: dict[str, Any], complaint: str
) -> None:
    arrays = {**samples(), **predictions(), **damage}
    kept = {name: array for name, array in arrays.items() if array is not None}
    drawn, shown = (
        {name: kept[name] for name in kept if name in part} for part in (samples(), predictions())
    )
    entry = saved(tmp_path, drawn, shown)
    for path in entry[1:]:
        if path.name in damage:
            path.unlink()
            if damage[path.name] is not None:
                path.write_bytes(damage[path.name])
    with pytest.raises(ValueError, match=complaint) as error:
        make_sheet("coco", [entry], tmp_path / "sheet.png")
    assert "\n" not in str(error.value)


def test_cells_that_saved_other_instances_are_not_drawn_beside_each_other(tmp_path: Path) -> None:
    other = samples()
    other["truth_keypoints"][2, 5] = (1, 2, 2)
    entries = [
        saved(tmp_path / "a", samples(), predictions()),
        saved(tmp_path / "b", other, predictions(), loss="kl"),
    ]
    with pytest.raises(ValueError, match=r"b/samples\.npz: shows other instances than .*a/samples\.npz"):
        make_heatmap_sheet("coco", entries, tmp_path / "sheet.png")


def test_a_sheet_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cell to draw"):
        make_sheet("coco", [], tmp_path / "sheet.png")


def test_every_known_loss_has_its_own_colour_and_an_unknown_one_always_the_same() -> None:
    known = ["mse", "kl", "awing", "fowkal", "dm", "rspose", "wahr", "kal", "fwahr", "heuristic"]
    known += ["oracle", "mean_pose"]
    assert len({loss_colour(loss) for loss in known}) == len(known)
    assert loss_colour("something_new") == loss_colour("something_new") not in map(loss_colour, known)
