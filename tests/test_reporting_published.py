"""Published numbers: what the files hold, how they are read, and when a number has reproduced one."""

from pathlib import Path

import pytest
from builders.grid import REPOSITORY

from rspose.grid.config import load_config
from rspose.reporting.published import COLUMNS, PUBLISHED, Claim, claimed, read_claims, verdict
from rspose.tools.mmpose_numbers import page as mmpose_claims

CLAIMS = PUBLISHED / "mmpose.csv"
# FoWKAL's poster: AP of the whole body, body, feet, face and hands.
FOWKAL = {
    "(a) MSE": (58.2, 69.4, 56.5, 73.6, 50.3),
    "(b) AWing": (57.9, 67.6, 52.4, 76.8, 50.9),
    "(c) heuristic MSE/AWing": (58.7, 70.2, 58.6, 76.5, 48.4),
    "(d) KAL": (58.4, 71.8, 73.4, 69.6, 45.8),
    "(e) heuristic + FWAHR": (61.2, 71.1, 69.0, 76.4, 53.2),
    "(f) FoWKAL": (61.6, 72.7, 74.2, 73.8, 53.5),
}


def claim(value: float = 0.736, **changes: str) -> Claim:
    words = {"dataset": "coco", "model": "resnet50", "head": "simcc", "loss": "rspose", "metric": "AP"}
    return Claim(source="a paper", table="", row="", title="RSPose", value=value, **{**words, **changes})


def test_the_numbers_of_fowkals_poster_are_there() -> None:
    for row, values in FOWKAL.items():
        of_row = {one.metric: one.value for one in read_claims() if one.table == "Table 2" and one.row == row}
        names = ("AP", "AP_body", "AP_foot", "AP_face", "AP_hand")
        assert of_row == pytest.approx({name: v / 100 for name, v in zip(names, values, strict=True)})


def test_a_config_that_mmpose_has_no_number_of_is_named(tmp_path: Path) -> None:
    edited = tmp_path / "mmpose.csv"
    edited.write_text(CLAIMS.read_text().replace("td-hm_res50_8xb64-210e_coco", "td-hm_res51_coco"))
    with pytest.raises(ValueError, match=r"td-hm_res51_coco-256x192\.py: not in the metadata of mmpose"):
        mmpose_claims(edited)
    edited.write_text(CLAIMS.read_text().replace(",coco,resnet50,", ",mpii,resnet50,"))
    with pytest.raises(ValueError, match="mmpose has no number of it on mpii"):
        mmpose_claims(edited)


@pytest.mark.parametrize("grid", sorted({one.grid for one in read_claims()}))
def test_every_claimed_cell_is_in_the_grid_that_its_command_runs(grid: str) -> None:
    in_grid = {cell[:4] for cell in load_config(REPOSITORY / grid).cells()}
    claims = {one.cell for one in read_claims() if one.model and one.grid == grid}
    assert claims and claims <= in_grid


def test_of_several_claims_the_highest_counts() -> None:
    claims = [claim(0.72), claim(0.736), claim(0.99, metric="AR"), claim(0.99, model="resnet101")]
    found = claimed(claims, ("coco", "resnet50", "simcc", "rspose"), "AP")
    assert found is not None and found.value == 0.736
    assert claimed(claims, ("mpii", "resnet50", "simcc", "rspose"), "AP") is None


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        *((value, "reproduced") for value in (0.736, 0.741, 0.731)),
        *((0.7412, "above"), (0.7308, "below"), (None, "not run")),
    ],
)
def test_half_a_point_decides_the_verdict(measured: float | None, expected: str) -> None:
    assert verdict(claim(), measured) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a,,r,coco,,,,,AP,79.9,", "value is '79.9': expected a fraction"),
        ("a,,r,coco,,,,,AP,,", "value is '': expected a fraction"),
        (",,r,coco,,,,,AP,0.5,", "source is empty"),
        ("a,,r,coco,resnet50,,,,AP,0.5,", "incomplete"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    good = "a,,r,coco,,,,,AP,0.5,"
    (tmp_path / "paper.csv").write_text("\n".join([",".join(COLUMNS), good, line]) + "\n")
    with pytest.raises(ValueError, match=complaint) as error:
        read_claims(tmp_path)
    assert f"{tmp_path / 'paper.csv'}, line 3" in str(error.value)


def test_a_foreign_table_is_named_and_no_folder_is_no_claim(tmp_path: Path) -> None:
    assert read_claims(tmp_path / "nowhere") == []
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"x\.csv: found the columns"):
        read_claims(tmp_path)
