"""The share of each source in the variance over seeds, against simulations with known components."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from builders.records import COCO_METRICS, record, rows_of, write

from rspose.cli import main
from rspose.reporting.variance import deviation, share

SPREAD = {"order": 0.01, "initial_weights": 0.02, "training_sample": 0.004}
"""Standard deviations of AP that the sources add, independently of each other."""


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_of_a_deviation_covers_it(seeds: int) -> None:
    rng = np.random.default_rng(0)
    found = [deviation(rng.normal(0.4, 0.01, seeds)) for _ in range(4000)]
    ends = [value.interval for value in found if value.interval is not None]
    assert np.mean([low <= 0.01 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.012)
    assert np.mean([value.mean**2 for value in found]) == pytest.approx(0.01**2, rel=0.05)


@pytest.mark.parametrize(("source", "seeds"), [("order", 5), ("training_sample", 10)])
def test_the_interval_of_a_share_covers_it(source: str, seeds: int) -> None:
    rng = np.random.default_rng(1)
    whole = np.sqrt(sum(spread**2 for spread in SPREAD.values()))
    truth = SPREAD[source] ** 2 / whole**2
    inside = []
    for _ in range(4000):
        found = share(rng.normal(0.4, SPREAD[source], seeds), rng.normal(0.4, whole, 2 * seeds))
        assert found is not None and found.interval is not None
        inside.append(found.interval[0] <= truth <= found.interval[1])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


def grids(root: Path, seeds: int) -> list[Path]:
    """A folder of records for each source alone, and one for all of them."""
    rng = np.random.default_rng(2)
    drawn = {source: rng.normal(0, spread, seeds) for source, spread in SPREAD.items()}
    folders = {**{source: [source] for source in SPREAD}, "all": list(SPREAD)}
    for (name, sources), seed in itertools.product(folders.items(), range(seeds)):
        # What is held is that of seed 0.
        score = 0.4 + sum(each[seed if source in sources else 0] for source, each in drawn.items())
        metrics = {**COCO_METRICS, "AP": score}
        write(root / name, record(seed=seed, metrics=metrics, training={"seeds_vary": sources}))
    return [root / name for name in folders]


def test_the_table_has_the_share_of_each_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["variance", *map(str, grids(tmp_path, 400))]) == 0
    rows = {row["Seeds set"]: row for row in rows_of(capsys.readouterr().out)}
    assert list(rows) == [
        "initial weights",
        "order",
        "training sample",
        "initial weights + order + training sample",
    ]
    total = sum(spread**2 for spread in SPREAD.values())
    for source, spread in SPREAD.items():
        row = rows[source.replace("_", " ")]
        assert row["seeds"] == "400"
        assert float(row["deviation"].split()[0]) == pytest.approx(100 * spread, rel=0.1)
        assert float(row["share of all"].split()[0]) == pytest.approx(100 * spread**2 / total, rel=0.25)
    assert rows["initial weights + order + training sample"]["share of all"] == ""


def test_without_trainings_in_which_all_vary_there_is_no_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["variance", *map(str, grids(tmp_path, 3)[:2])]) == 0
    assert {row["share of all"] for row in rows_of(capsys.readouterr().out)} == {""}


def test_records_that_say_nothing_are_of_seeds_as_they_are_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        write(tmp_path, record(seed=seed, metrics={**COCO_METRICS, "AP": 0.4 + 0.01 * seed}))
    assert main(["variance", str(tmp_path)]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    assert row["Seeds set"] == "augmentation + initial weights + order"
    assert row["deviation"].startswith("0.71 ")  # 1 / sqrt(2)


def test_what_cannot_be_told_apart_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = grids(tmp_path, 2)
    assert main(["variance", str(first), str(first)]) == 1
    assert "the same training as" in capsys.readouterr().err
    write(first, record(seed=2, data={"checksum": "other"}, training={"seeds_vary": ["order"]}))
    assert main(["variance", str(first)]) == 1
    assert "other data than" in capsys.readouterr().err
    elsewhere = tmp_path / "elsewhere"
    for seed in range(2):
        write(elsewhere, record(seed=seed, data={"checksum": "other"}, training={"seeds_vary": list(SPREAD)}))
    assert main(["variance", str(grids(tmp_path / "again", 2)[0]), str(elsewhere)]) == 1
    assert "other data than" in capsys.readouterr().err
    for name, iterations in (("short", 600), ("long", 6000)):
        for seed in range(2):
            write(
                tmp_path / name, record(seed=seed, training={"iterations": iterations, "seeds_vary": [name]})
            )
    assert main(["variance", str(tmp_path / "short"), str(tmp_path / "long")]) == 1
    assert "other iterations than" in capsys.readouterr().err
    write(tmp_path / "alone", record())
    assert main(["variance", str(tmp_path / "alone")]) == 1
    assert "expected a loss with two seeds or more, found none" in capsys.readouterr().err
