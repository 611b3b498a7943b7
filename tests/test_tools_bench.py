"""The bench: the slow forms it compares with compute the same thing, and every loss and head is measured."""

import json
from pathlib import Path

import pytest
import torch
from builders.official import needs_xtcocotools

from rspose.cli import main
from rspose.losses import available
from rspose.losses.interface import HEADS
from rspose.losses.rank_sort.reference import rank_sort_reference
from rspose.tools import bench
from rspose.tools.bench import dense_form, published_form, row_by_row

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", [published_form, dense_form])
@pytest.mark.parametrize("delta", [0.1, 0.5])
def test_the_slow_forms_equal_the_definition(form: object, delta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    labels = torch.rand(6, 40, generator=generator, dtype=torch.float64)
    labels = labels.where(torch.rand(6, 40, generator=generator) < 0.3, 0)
    labels[0], labels[1] = 0, 1
    rank, sort, gradient = row_by_row(form, scores, labels, delta)
    expected_rank, expected_sort, *gradients = rank_sort_reference(scores, labels, delta)
    torch.testing.assert_close(rank, expected_rank)
    torch.testing.assert_close(sort, expected_sort)
    torch.testing.assert_close(gradient, sum(gradients))


@pytest.fixture
def of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BATCH", 2)


def test_every_loss_and_the_operator_are_measured(of_two: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "losses", "--json", "--repeats", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    operators = ("rank_sort", "rank_sort, bucketed", "ap_loss")
    expected = {(name, head) for name, loss in available().items() for head in loss.heads}
    expected |= {(operator, head) for operator in operators for head in HEADS}
    assert {(line["loss"], line["head"]) for line in lines} == expected
    for line in lines:
        assert line["forward_ms"] > 0 and line["backward_ms"] > 0 and line["times_mse"] > 0
        assert (line["loss"] == "rank_sort") == (line["times_faster_than_published"] is not None)
        assert line["machine"]


def test_the_table_has_a_row_a_loss_and_head(
    of_two: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: loss for name, loss in available().items() if name in ("kl", "mse")}
    monkeypatch.setattr(bench, "available", lambda: few)
    assert main(["bench", "losses", "--repeats", "1"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) == 2 + 2 * (2 + 3) and sum(row.startswith("| mse |") for row in rows) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_where_the_kernel_tells_no_peak_memory_the_times_stand_alone(
    of_two: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "available", lambda: {"mse": available()["mse"]})
    monkeypatch.setattr(bench, "proc_bytes", lambda _, field: {}[field])
    assert main(["bench", "losses", "--json", "--repeats", "1"]) == 0
    (line, *_) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["loss"] == "mse" and line["forward_ms"] > 0 and line["extra_mb"] is None


@needs_xtcocotools
def test_an_evaluation_is_measured_beside_the_official_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "growth.svg"
    assert (
        main(
            ["bench", "evaluate", "--datasets", "coco", "--times", "0.02", "--json", "--figure", str(figure)]
        )
        == 0
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["dataset"] for line in lines] == ["coco"]
    for line in lines:
        assert line["detections"] > 2000 and line["memory_gb"] > 0.05
        assert line["times_official"] == pytest.approx(line["seconds"] / line["official_seconds"])
        # The official numbers, on predictions of which neither all nor none are right.
        assert line["difference"] < 1e-9 and 0.1 < line["ap"] < 0.9
    assert "<svg" in figure.read_text()
