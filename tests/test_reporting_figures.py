"""Sheets: panels and labels, drawing where the crop's affine map says, clear words on bad files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders.records import GREY, HEIGHT, WIDTH, predictions, record, samples, saved, write
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from rspose.datasets.coco import COCO
from rspose.datasets.mpii import MPII
from rspose.grid.record import read_record
from rspose.reporting.figures import (
    Entry,
    heatmap_figure,
    make_heatmap_sheet,
    make_sheet,
    skeleton_figure,
)
from rspose.reporting.style import LOSS_COLOURS, SIDE_COLOURS, loss_colour


def panels(figure: Figure) -> list[Axes]:
    """The panels that show a crop, row by row."""
    return [axes for axes in figure.axes if axes.images]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title] if text.get_text()]


def colour_at(figure: Figure, axes: Axes, x: float, y: float) -> np.ndarray:
    """Rendered colour in [0, 1] at crop pixel (x, y) of a panel, whose box holds WIDTH x HEIGHT pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    box = axes.get_window_extent()
    column = box.x0 + (x + 0.5) / WIDTH * box.width
    row = image.shape[0] - (box.y1 - (y + 0.5) / HEIGHT * box.height)
    return image[round(row), round(column)]


def test_a_sheet_has_a_row_for_the_truth_and_each_cell_and_a_column_an_instance(
    tmp_path: Path,
) -> None:
    entries = [
        saved(tmp_path / f"{loss}{head}", samples(5), predictions(6), loss=loss, head=head)
        for loss in ("mse", "kl")
        for head in ("heatmap", "simcc")
    ]
    assert len(panels(skeleton_figure("coco", entries))) == 5 * 5
    assert len(panels(skeleton_figure("coco", entries, columns=2))) == 5 * 2
    assert len(panels(heatmap_figure("coco", entries, columns=3))) == 4 * 3


def test_files_are_written_and_the_same_each_time(tmp_path: Path) -> None:
    entries = [saved(tmp_path / "a", samples(1), predictions())]
    for attempt in ("first", "second"):
        sheets = make_sheet("coco", entries, tmp_path / attempt / "coco_predictions.png")
        maps = make_heatmap_sheet("coco", entries, tmp_path / attempt / "coco_heatmaps.png")
        names = [path.name for path in (*sheets, *maps)]
        assert names == [
            "coco_predictions.png",
            "coco_predictions.svg",
            "coco_heatmaps.png",
            "coco_heatmaps.svg",
        ]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert (tmp_path / "first" / names[0]).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "first" / names[1]).read_text()


def test_rows_are_labelled_and_stand_in_canonical_order(tmp_path: Path) -> None:
    drawn, predicted = samples(1), predictions()
    entries = [
        saved(
            tmp_path / "c", drawn, predicted, loss="rspose", title="RSPose", reconstruction=True, score=0.4512
        ),
        saved(tmp_path / "b", drawn, predicted, head="simcc", score=0.5),
        saved(tmp_path / "a", drawn, predicted),
    ]
    labels = ["MSE", "2D", "MSE", "1D · AP 50.0", "RSPose †", "2D · AP 45.1"]
    found = [word for word in words(skeleton_figure("coco", entries)) if word != "000000000000.jpg"]
    assert found == ["Truth", *labels]
    assert [word for word in words(heatmap_figure("coco", entries)) if word != "000000000000.jpg"] == labels


def test_several_models_are_told_apart_in_the_labels(tmp_path: Path) -> None:
    entries = [
        saved(tmp_path / model, samples(1), predictions(), model=model) for model in ("small", "large")
    ]
    details = [word for word in words(heatmap_figure("coco", entries)) if word.startswith("2D")]
    assert details == ["2D\nlarge", "2D\nsmall"]


def test_a_predicted_keypoint_lands_where_the_affine_map_puts_it(tmp_path: Path) -> None:
    predicted = predictions()
    # Sample 1 is row 2. (60, 100) in the image is (60 / 2 - 10, 100 / 2 - 20) = (20, 30) in the crop.
    predicted["keypoints"][2, COCO.keypoints.names.index("left_wrist")] = (60, 100)
    predicted["confidence"][2, COCO.keypoints.names.index("left_wrist")] = 1
    figure = skeleton_figure("coco", [saved(tmp_path, samples(), predicted)])
    row = panels(figure)[3:]
    assert colour_at(figure, row[1], 20, 30) == pytest.approx(to_rgb(SIDE_COLOURS["left"]), abs=0.02)
    for axes, x, y in ((row[1], 26, 30), (row[1], 20, 36), (row[0], 20, 30), (row[2], 20, 30)):
        assert colour_at(figure, axes, x, y) == pytest.approx([GREY / 255] * 3, abs=0.02)


@pytest.mark.parametrize(
    ("first", "second", "side"),
    [
        ("left_hip", "left_knee", "left"),
        ("right_hip", "right_knee", "right"),
        ("left_hip", "right_hip", "middle"),
    ],
)
def test_limbs_join_keypoints_in_the_colour_of_their_side(
    tmp_path: Path, first: str, second: str, side: str
) -> None:
    predicted = predictions()
    for name, place in ((first, (40, 80)), (second, (80, 60))):
        predicted["keypoints"][1, COCO.keypoints.names.index(name)] = place
        predicted["confidence"][1, COCO.keypoints.names.index(name)] = 1
    figure = skeleton_figure("coco", [saved(tmp_path, samples(1), predicted)])
    # Half way between (10, 20) and (30, 10) in the crop.
    assert colour_at(figure, panels(figure)[1], 20, 15) == pytest.approx(to_rgb(SIDE_COLOURS[side]), abs=0.03)


def test_confidence_is_opacity(tmp_path: Path) -> None:
    predicted = predictions()
    wrist, elbow = COCO.keypoints.names.index("right_wrist"), COCO.keypoints.names.index("left_elbow")
    predicted["keypoints"][1, [wrist, elbow]] = [(60, 100), (90, 60)]
    predicted["confidence"][1, [wrist, elbow]] = [0.9, 0.2]
    figure = skeleton_figure("coco", [saved(tmp_path, samples(1), predicted)])
    axes = panels(figure)[1]

    def opacity(x: float, y: float, side: str) -> float:
        full = np.array(to_rgb(SIDE_COLOURS[side])) - GREY / 255
        return float((colour_at(figure, axes, x, y) - GREY / 255) @ full / (full @ full))

    assert opacity(20, 30, "right") == pytest.approx(0.15 + 0.85 * 0.9, abs=0.03)
    assert opacity(35, 10, "left") == pytest.approx(0.15 + 0.85 * 0.2, abs=0.03)


def test_truth_shows_what_is_annotated_and_marks_what_is_hidden(tmp_path: Path) -> None:
    drawn = samples(1)
    for name, x, y, visible in (("left_wrist", 40, 60, 2), ("right_wrist", 60, 100, 1), ("nose", 80, 60, 0)):
        drawn["truth_keypoints"][0, COCO.keypoints.names.index(name)] = (x, y, visible)
    figure = skeleton_figure("coco", [saved(tmp_path, drawn, predictions())])
    truth = panels(figure)[0]
    assert colour_at(figure, truth, 10, 10) == pytest.approx(to_rgb(SIDE_COLOURS["left"]), abs=0.02)
    assert colour_at(figure, truth, 20, 30) == pytest.approx([1, 1, 1], abs=0.02)
    assert colour_at(figure, truth, 30, 10) == pytest.approx([GREY / 255] * 3, abs=0.02)


@pytest.mark.parametrize(("columns", "rows"), [(12, 16), (96, 128)])
def test_a_heatmap_lies_on_the_crop_pixels_it_speaks_of(tmp_path: Path, columns: int, rows: int) -> None:
    drawn = samples(1)
    # One bright pixel a quarter across and half down: pixel i of a map is centred at i strides of the crop.
    drawn["heatmap"] = np.zeros((1, len(COCO.keypoints), rows, columns), dtype=np.float16)
    drawn["heatmap"][0, 3, rows // 2, columns // 4] = 1
    figure = heatmap_figure("coco", [saved(tmp_path, drawn, predictions())])
    axes = panels(figure)[0]
    stride = WIDTH / columns
    reach = (
        0.4 * stride if stride > 1 else 0
    )  # nearly to the edges of the map's pixel, where it can be resolved
    for dx, dy in ((0, 0), (reach, 0), (-reach, 0), (0, reach), (0, -reach)):
        peak = colour_at(figure, axes, WIDTH / 4 + dx, HEIGHT / 2 + dy)
        assert peak[:2].min() > 0.75 > peak[2]  # the bright yellow end of the scale
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        beside = colour_at(figure, axes, WIDTH / 4 + dx * max(stride, 1), HEIGHT / 2 + dy * max(stride, 1))
        assert np.ptp(beside) < 0.05  # the grey of the crop


def test_each_row_of_heatmaps_has_its_own_scale(tmp_path: Path) -> None:
    limits = []
    for loss, low, high in (("mse", -0.25, 0.5), ("rspose", 0.5, 1.0)):
        drawn = samples(2)
        drawn["heatmap"][:] = low
        drawn["heatmap"][1, 4, 3, 2] = high
        limits.append((saved(tmp_path / loss, drawn, predictions(), loss=loss), low, high))
    figure = heatmap_figure("coco", [entry for entry, _, _ in limits])
    bars = [axes for axes in figure.axes if not axes.images]
    assert [bar.get_ylim() for bar in bars] == [(low, high) for _, low, high in limits]


def test_heatmaps_that_are_not_finite_are_survived(tmp_path: Path) -> None:
    drawn = samples(2)
    drawn["heatmap"][:] = np.nan
    entry = saved(tmp_path, drawn, predictions())
    assert make_heatmap_sheet("coco", [entry], tmp_path / "maps.png")[0].exists()


def test_an_entry_can_be_made_from_a_record(tmp_path: Path) -> None:
    content = record(
        "mpii", "dm", "simcc", title="DM", reconstruction=True, metrics={"PCKh": 0.8, "PCKh@0.1": 0.2}
    )
    entry = Entry.from_record(read_record(write(tmp_path, content)), tmp_path / "p.npz", tmp_path / "s.npz")
    assert entry == Entry("dm", "simcc", tmp_path / "p.npz", tmp_path / "s.npz", "DM", 0.8, True, "tiny")
    drawn, predicted = samples(1, len(MPII.keypoints)), predictions(keypoints=len(MPII.keypoints))
    files = saved(tmp_path, drawn, predicted)
    figure = skeleton_figure("mpii", [replace(entry, samples=files.samples, predictions=files.predictions)])
    assert "1D · PCKh 80.0" in words(figure)


def _without(name: str) -> Callable[[Path, dict, dict], None]:
    def drop(folder: Path, drawn: dict, predicted: dict) -> None:
        (drawn if name in drawn else predicted).pop(name)
        saved(folder, drawn, predicted)

    return drop


def _truncated(folder: Path, drawn: dict, predicted: dict) -> None:
    content = (folder / "samples.npz").read_bytes()
    (folder / "samples.npz").write_bytes(content[: len(content) // 2])


def _foreign(folder: Path, drawn: dict, predicted: dict) -> None:
    (folder / "predictions.npz").write_text("not an archive")


def _missing(folder: Path, drawn: dict, predicted: dict) -> None:
    (folder / "predictions.npz").unlink()


def _of_another_run(folder: Path, drawn: dict, predicted: dict) -> None:
    saved(folder, drawn, predictions(2))


def _of_another_dataset(folder: Path, drawn: dict, predicted: dict) -> None:
    saved(folder, drawn, predictions(keypoints=14))


def _empty(folder: Path, drawn: dict, predicted: dict) -> None:
    saved(folder, samples(0), predicted)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_without("crop_matrix"), r"samples\.npz: not usable \(the array crop_matrix is missing\)"),
        (_without("confidence"), r"predictions\.npz: not usable \(the array confidence is missing\)"),
        (_truncated, r"samples\.npz: not usable"),
        (_foreign, r"predictions\.npz: not usable"),
        (_missing, r"predictions\.npz: not usable \(.*No such file"),
        (_of_another_run, r"samples\.npz: box_index 3 is outside the 2 rows of .*predictions\.npz"),
        (_of_another_dataset, r"predictions\.npz: 14 keypoints: expected the 17 of coco"),
        (_empty, r"samples\.npz: holds no instance to draw"),
    ],
)
def test_a_file_that_cannot_be_drawn_is_named_in_one_line(
    tmp_path: Path, damage: Callable[[Path, dict, dict], None], complaint: str
) -> None:
    drawn, predicted = samples(), predictions()
    entry = saved(tmp_path, drawn, predicted)
    damage(tmp_path, drawn, predicted)
    with pytest.raises(ValueError, match=complaint) as error:
        skeleton_figure("coco", [entry])
    assert "\n" not in str(error.value)


def test_cells_that_saved_other_instances_are_not_drawn_beside_each_other(tmp_path: Path) -> None:
    other = samples()
    other["truth_keypoints"][2, 5] = (1, 2, 2)
    entries = [
        saved(tmp_path / "a", samples(), predictions()),
        saved(tmp_path / "b", other, predictions(), loss="kl"),
    ]
    with pytest.raises(ValueError, match=r"b/samples\.npz: shows other instances than .*a/samples\.npz"):
        heatmap_figure("coco", entries)
    assert panels(skeleton_figure("coco", entries, columns=2))


def test_a_sheet_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cell to draw"):
        make_sheet("coco", [], tmp_path / "sheet.png")


def test_every_known_loss_has_its_own_colour_and_an_unknown_one_always_the_same() -> None:
    assert len(set(LOSS_COLOURS.values())) == len(LOSS_COLOURS)
    assert loss_colour("rspose") == LOSS_COLOURS["rspose"]
    assert loss_colour("something_new") == loss_colour("something_new") not in LOSS_COLOURS.values()
