"""Tables: the right number in the right place, what is bold, and what the notes say."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders.processes import python
from builders.records import (
    COCO_METRICS,
    CROWDPOSE_METRICS,
    MPII_METRICS,
    fail,
    record,
    rows_of,
    with_bootstrap,
    write,
)
from hypothesis import given
from hypothesis import strategies as st

from rspose.reporting.latex import escaped
from rspose.reporting.published import read_claims
from rspose.reporting.tables import make_tables


def column(text: str, header: str, stub: str = "Loss") -> dict[str, str]:
    """A column of a Markdown table, by the label of the row."""
    return {row[stub]: row[header] for row in rows_of(text)}


def tables(root: Path) -> Path:
    """Make the tables of the records in ``root``; the folder they are in."""
    make_tables(root, root / "tables")
    return root / "tables"


def write_pair(root: Path, loss: str, ap: float, spread: float, seed: int) -> None:
    """A record whose bootstrap over images spreads by ``spread`` in a way of its own."""
    noise = np.random.default_rng(seed).normal(0, spread, 500)
    write(root, with_bootstrap(record(loss=loss, metrics=with_ap(ap)), {"metrics.AP": ap + noise}))


def with_ap(value: float | None) -> dict[str, float | None]:
    return {**COCO_METRICS, "AP": value}


def write_aps(root: Path, values: dict[str, float], **changes: Any) -> None:
    """A record of each loss that differs in its AP."""
    for loss, value in values.items():
        write(root, record(loss=loss, metrics=with_ap(value), **changes))


def test_every_table_is_written_in_three_formats(tmp_path: Path) -> None:
    for dataset, metrics in (
        ("coco", COCO_METRICS),
        ("crowdpose", CROWDPOSE_METRICS),
        ("mpii", MPII_METRICS),
    ):
        write(tmp_path, record(dataset, metrics=metrics))
    written = make_tables(tmp_path, tmp_path / "new" / "tables")
    names = ("coco", "crowdpose", "mpii", "confidence", "main")
    assert [path.name for path in written] == [
        f"{name}.{kind}" for name in names for kind in ("md", "tex", "csv")
    ]
    assert all(path.stat().st_size > 0 for path in written)


def test_numbers_stand_under_their_head_and_metric_in_percent(tmp_path: Path) -> None:
    write(tmp_path, record(head="heatmap", metrics=COCO_METRICS))
    write(tmp_path, record(head="simcc", metrics={name: value / 2 for name, value in COCO_METRICS.items()}))
    (row,) = rows_of((tables(tmp_path) / "coco.md").read_text())
    assert list(row) == ["Loss", *(f"{head} {name}" for head in ("2D", "1D") for name in COCO_METRICS)]
    assert list(row.values()) == [
        "MSE", "45.1", "70.0", "50.0", "40.0", "50.0", "55.0", "22.6", "35.0", "25.0", "20.0", "25.0", "27.5",
    ]  # fmt: skip


def test_each_dataset_has_its_own_metrics(tmp_path: Path) -> None:
    write(tmp_path, record("crowdpose", metrics=CROWDPOSE_METRICS))
    write(tmp_path, record("mpii", metrics=MPII_METRICS))
    folder = tables(tmp_path)
    (crowd,) = rows_of((folder / "crowdpose.md").read_text())
    assert crowd == {
        "Loss": "MSE", "2D AP": "51.0", "2D AP50": "80.0", "2D AP75": "55.0",
        "2D APE": "60.0", "2D APM": "50.0", "2D APH": "30.0",
    }  # fmt: skip
    (mpii,) = rows_of((folder / "mpii.md").read_text())
    assert mpii == {
        "Loss": "MSE", "2D Head": "95.1", "2D Sho.": "94.0", "2D Elb.": "83.0", "2D Wri.": "74.0",
        "2D Hip": "82.0", "2D Knee": "73.0", "2D Ank.": "62.0", "2D Mean": "81.2", "2D @0.1": "21.1",
    }  # fmt: skip


def test_a_dataset_that_is_new_here_shows_the_metrics_of_its_records(tmp_path: Path) -> None:
    write(tmp_path, record("coco"))
    write(tmp_path, record("hands", metrics={"AUC": 0.8, "EPE": 0.1}))
    folder = tables(tmp_path)
    assert column((folder / "hands.md").read_text(), "2D AUC") == {"MSE": "80.0"}
    assert column((folder / "main.md").read_text(), "hands 2D AUC") == {"MSE": "80.0"}


def test_the_overview_has_the_main_metric_of_every_dataset_and_head(tmp_path: Path) -> None:
    write(tmp_path, record("mpii", head="simcc", metrics=MPII_METRICS))
    write(tmp_path, record("coco", head="simcc", metrics=with_ap(0.3)))
    write(tmp_path, record("coco", loss="kl", metrics=with_ap(0.4)))
    assert rows_of((tables(tmp_path) / "main.md").read_text()) == [
        {"Loss": "MSE", "COCO 2D AP": "—", "COCO 1D AP": "30.0", "MPII 1D PCKh": "81.2"},
        {"Loss": "KL", "COCO 2D AP": "40.0", "COCO 1D AP": "—", "MPII 1D PCKh": "—"},
    ]


def test_losses_stand_in_canonical_order_and_controls_last(tmp_path: Path) -> None:
    for loss in ("zeta", "rspose", "dm", "alpha", "fowkal", "awing", "kl", "mse"):
        write(tmp_path, record(loss=loss))
    for control in ("mean_pose", "oracle"):
        write(tmp_path, record(loss=control, control=True))
    assert list(column((tables(tmp_path) / "coco.md").read_text(), "2D AP")) == [
        "MSE", "KL", "AWING", "FOWKAL", "DM", "RSPOSE", "ALPHA", "ZETA", "*ORACLE*", "*MEAN_POSE*",
    ]  # fmt: skip


def test_the_best_loss_is_bold_with_ties_at_the_shown_precision(tmp_path: Path) -> None:
    write_aps(tmp_path, {"mse": 0.45123, "kl": 0.45149, "awing": 0.44, "dm": 0.4494})
    folder = tables(tmp_path)
    assert column((folder / "coco.md").read_text(), "2D AP") == {
        "MSE": "**45.1**", "KL": "**45.1**", "AWING": "44.0", "DM": "44.9",
    }  # fmt: skip
    assert column((folder / "main.md").read_text(), "COCO 2D AP")["KL"] == "**45.1**"


def test_controls_are_never_bold_and_stand_under_both_heads(tmp_path: Path) -> None:
    for head in ("heatmap", "simcc"):
        write_aps(tmp_path, {"mse": 0.4, "kl": 0.3}, head=head)
    write(tmp_path, record(loss="oracle", title="Oracle keypoints", control=True, metrics=with_ap(0.9)))
    write(tmp_path, record(loss="mean_pose", title="Mean pose", control=True, metrics=with_ap(0.1)))
    text = (tables(tmp_path) / "coco.md").read_text()
    for head in ("2D", "1D"):
        expected = {"MSE": "**40.0**", "KL": "30.0", "*Oracle keypoints*": "90.0", "*Mean pose*": "10.0"}
        assert column(text, f"{head} AP") == expected


def test_a_loss_without_a_rival_is_not_bold(tmp_path: Path) -> None:
    write(tmp_path, record(loss="mse"))
    write(tmp_path, record(loss="oracle", control=True))
    assert "**" not in "".join(
        line for line in (tables(tmp_path) / "coco.md").read_text().splitlines() if line.startswith("|")
    )


def test_each_model_is_a_group_of_rows_with_its_own_best(tmp_path: Path) -> None:
    write_aps(tmp_path, {"mse": 0.3, "kl": 0.2}, model="small")
    write_aps(tmp_path, {"mse": 0.5, "kl": 0.6}, model="large")
    write(tmp_path, record(loss="oracle", control=True, metrics=with_ap(0.9)))
    rows = rows_of((tables(tmp_path) / "coco.md").read_text())
    assert [(row["Model"], row["Loss"], row["2D AP"]) for row in rows] == [
        ("large", "MSE", "50.0"),
        ("", "KL", "**60.0**"),
        ("small", "MSE", "**30.0**"),
        ("", "KL", "20.0"),
        ("control", "*ORACLE*", "90.0"),
    ]


def test_missing_cells_and_empty_splits_are_dashes_and_do_not_compete(tmp_path: Path) -> None:
    write(tmp_path, record(loss="mse", metrics={**COCO_METRICS, "APL": None}))
    write(tmp_path, record(loss="kl", metrics={**COCO_METRICS, "APL": 0.1}))
    write(tmp_path, record(loss="awing", metrics={**COCO_METRICS, "APL": 0.2}))
    write(tmp_path, record(loss="kl", head="simcc"))
    text = (tables(tmp_path) / "coco.md").read_text()
    assert column(text, "2D APL") == {"MSE": "—", "KL": "10.0", "AWING": "**20.0**"}
    assert column(text, "1D AP") == {"MSE": "—", "KL": "45.1", "AWING": "—"}
    assert "— No record of this cell" in text


def test_a_complete_table_does_not_explain_dashes_daggers_or_controls(tmp_path: Path) -> None:
    write(tmp_path, record())
    text = (tables(tmp_path) / "coco.md").read_text()
    assert not any(word in text for word in ("—", "†", "control", "Italics"))


def test_reconstructions_carry_a_dagger_and_its_footnote(tmp_path: Path) -> None:
    write(tmp_path, record(loss="mse"))
    write(tmp_path, record(loss="rspose", title="RSPose", reconstruction=True))
    folder = tables(tmp_path)
    for name in ("coco", "confidence", "main"):
        text = (folder / f"{name}.md").read_text()
        assert [row["Loss"] for row in rows_of(text)] == ["MSE", "RSPose †"]
        assert text.count("† Reconstruction:") == 1
        latex = (folder / f"{name}.tex").read_text()
        assert r"RSPose {\textdagger} &" in latex
        assert r"{\textdagger} Reconstruction:" in latex


def test_losses_that_share_a_title_are_told_apart_by_name(tmp_path: Path) -> None:
    write(tmp_path, record(loss="rspose", title="RSPose"))
    write(tmp_path, record(loss="rspose_sharp", title="RSPose"))
    labels = list(column((tables(tmp_path) / "coco.md").read_text(), "2D AP"))
    assert labels == ["RSPose (rspose)", "RSPose (rspose_sharp)"]


def test_several_seeds_show_mean_and_deviation_and_one_seed_says_so(tmp_path: Path) -> None:
    for seed, value in enumerate((0.40, 0.44, 0.45)):
        write(tmp_path, record(loss="mse", seed=seed, metrics=with_ap(value)))
    write(tmp_path, record(loss="kl", metrics=with_ap(0.44)))
    folder = tables(tmp_path)
    text = (folder / "coco.md").read_text()
    # mean 0.43; deviations -3, +1, +2 percent: the root of (9 + 1 + 4) / 2 is 2.65.
    found = column(text, "2D AP")
    assert found["KL"] == "**44.0**"
    low, high = re.fullmatch(r"43\.0 ± 2\.6 \[([\d.]+), ([\d.]+)\]", found["MSE"]).groups()
    assert float(low) < 40 and float(high) > 45
    assert "over 1 to 3 seeds per cell; a number without ± is from one seed and has no interval" in text
    # Columns beside the main metric show no interval.
    assert column(text, "2D AP50")["MSE"] == "**70.0** ± 0.0"
    expected = rf"43.0 &  {{\scriptsize$\pm$2.6}} & {{\scriptsize [{low}, {high}]}}"
    assert expected in (folder / "coco.tex").read_text()


@pytest.mark.parametrize(
    ("seeds", "said"), [(1, "One seed per cell: the numbers have no interval."), (2, "over 2 seeds.")]
)
def test_the_number_of_seeds_is_said(tmp_path: Path, seeds: int, said: str) -> None:
    for seed in range(seeds):
        write(tmp_path, record(seed=seed))
    write(tmp_path, record(loss="oracle", control=True))
    assert all(said in path.read_text() for path in tables(tmp_path).glob("*.md"))


def test_correlations_have_two_decimals_and_no_sign_on_zero(tmp_path: Path) -> None:
    write(tmp_path, record("coco", loss="mse", correlations=(-0.001, 0.222, 0.516, -0.126)))
    write(tmp_path, record("coco", loss="kl", correlations=(0.1, 0.2, 0.3, None)))
    write(tmp_path, record("mpii", loss="mse", correlations=(0.6, 0.5, 0.4, 0.3), metrics=MPII_METRICS))
    write(tmp_path, record("coco", loss="oracle", control=True, correlations=(None,) * 4))
    assert rows_of((tables(tmp_path) / "confidence.md").read_text()) == [
        {
            "Dataset": "COCO", "Loss": "MSE",
            "2D kpt. ρ": "0.00", "2D kpt. τ": "**0.22**", "2D pose ρ": "**0.52**", "2D pose τ": "-0.13",
        },
        {
            "Dataset": "", "Loss": "KL",
            "2D kpt. ρ": "**0.10**", "2D kpt. τ": "0.20", "2D pose ρ": "0.30", "2D pose τ": "—",
        },
        {
            "Dataset": "MPII", "Loss": "MSE",
            "2D kpt. ρ": "0.60", "2D kpt. τ": "0.50", "2D pose ρ": "0.40", "2D pose τ": "0.30",
        },
    ]  # fmt: skip


def test_notes_name_data_training_and_protocol(tmp_path: Path) -> None:
    write(tmp_path, record("coco"))
    write(tmp_path, record("mpii", metrics=MPII_METRICS, data={"generated": False, "val_instances": 2958}))
    folder = tables(tmp_path)
    coco = (folder / "coco.md").read_text()
    assert coco.startswith("**COCO val, generated data: ")
    for words in (
        "4000 training instances", "900 validation instances", "model tiny", "600 iterations of batch 32",
        "input 96 × 128", "detection boxes boxes_56.json", "no flip test", "keypoint score threshold 0.2",
        "OKS-NMS threshold 0.9", "evaluator xtcocotools 1.14.3",
    ):  # fmt: skip
        assert words in coco
    mpii = (folder / "mpii.md").read_text()
    assert mpii.startswith("**MPII val, real data: ")
    assert "ground-truth boxes" in mpii
    main = (folder / "main.md").read_text()
    shared, own_coco, own_mpii = main.splitlines()[-4:-1]
    assert shared.startswith("All datasets: ") and "600 iterations" in shared
    assert own_coco.startswith("COCO: generated data; 900 validation")
    assert own_mpii.startswith("MPII: real data; 2958 validation")


def test_notes_name_every_value_where_the_records_differ(tmp_path: Path) -> None:
    write(tmp_path, record(loss="mse"))
    write(
        tmp_path,
        record(
            loss="kl", training={"iterations": 300}, protocol={"flip_test": True}, data={"checksum": "other"}
        ),
    )
    text = (tables(tmp_path) / "coco.md").read_text()
    assert "600 / 300 iterations" in text
    assert "no flip test / flip test" in text
    assert "WARNING: the records come from 2 different copies of the data" in text


def test_intervals_over_images_stand_beside_the_main_metric_and_are_explained(tmp_path: Path) -> None:
    values = np.linspace(0.40, 0.50, 401)
    content = record(metrics=with_ap(0.45))
    write(tmp_path, with_bootstrap(content, {"metrics.AP": values, "metrics.AP50": values}))
    folder = tables(tmp_path)
    text = (folder / "coco.md").read_text()
    assert column(text, "2D AP") == {"MSE": "45.0 [40.2, 49.8]"}
    assert column(text, "2D AP50") == {"MSE": "70.0"}
    assert "One seed per cell. In brackets: 95 % interval of a bootstrap over the validation images" in text
    assert column((folder / "main.md").read_text(), "COCO 2D AP") == {"MSE": "45.0 [40.2, 49.8]"}
    assert "45.0 & {\\scriptsize [40.2, 49.8]}" in (folder / "main.tex").read_text()
    numbers = pd.read_csv(folder / "coco.csv").set_index("metric")
    ends = numbers.loc["metrics.AP50", ["low", "high"]]
    assert list(ends) == pytest.approx([0.4025, 0.4975], abs=2e-5)
    assert numbers.loc["metrics.AP50", "basis"] == "images"
    assert pd.isna(numbers.loc["metrics.AP75", "basis"])


def test_a_record_without_a_bootstrap_is_shown_without_an_interval_beside_others(tmp_path: Path) -> None:
    write_pair(tmp_path, "mse", 0.45, 0.01, seed=1)
    write(tmp_path, record(loss="kl", metrics=with_ap(0.40)))
    text = (tables(tmp_path) / "main.md").read_text()
    assert column(text, "COCO 2D AP")["KL"] == "40.0"
    assert "A number without an interval is from a record of an earlier version." in text


def test_what_cannot_be_told_from_the_best_is_a_tie_and_not_bold(tmp_path: Path) -> None:
    # Paired differences spread by 1.4 points: 0.04 points are nothing, 20 points are.
    for seed, (loss, ap) in enumerate((("mse", 0.4504), ("kl", 0.4500), ("dm", 0.25))):
        write_pair(tmp_path, loss, ap, 0.01, seed)
    folder = tables(tmp_path)
    text = (folder / "coco.md").read_text()
    shown = {loss: value.split(" [")[0] for loss, value in column(text, "2D AP").items()}
    assert shown == {"MSE": "**45.0**", "KL": "45.0≈", "DM": "25.0"}
    assert "≈ A tie: it cannot be told from the best one" in text
    latex = (folder / "coco.tex").read_text()
    assert r"45.0 & {\ensuremath{\approx}}" in latex


def test_ties_over_seeds_go_by_differences_of_the_same_seeds(tmp_path: Path) -> None:
    # Seeds differ by far more than losses do; KL is half a point below MSE in every one of them.
    hard = (0.03, -0.02, 0.0, 0.04, -0.05)
    lower = {"mse": (0,) * 5, "kl": (0.005,) * 5, "dm": (0.01, -0.01, 0.01, -0.012, 0.005)}
    for loss, offsets in lower.items():
        for seed, (of_seed, of_loss) in enumerate(zip(hard, offsets, strict=True)):
            write(tmp_path, record(loss=loss, seed=seed, metrics=with_ap(0.5 + of_seed - of_loss)))
    shown = column((tables(tmp_path) / "coco.md").read_text(), "2D AP")
    means = {loss: value.split(" ")[0] for loss, value in shown.items()}
    assert means == {"MSE": "**50.0**", "KL": "49.5", "DM": "49.9≈"}


def test_differences_to_mse_stand_with_interval_probability_and_corrected_p(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for head in ("heatmap", "simcc"):
        for loss, gain in (("mse", 0.0), ("kl", 0.05), ("dm", 0.0001)):
            for seed in range(5):
                ap = 0.4 + gain + rng.normal(0, 0.002)
                write(tmp_path, record(loss=loss, head=head, seed=seed, metrics=with_ap(ap)))
    folder = tables(tmp_path)
    text = (folder / "differences.md").read_text()
    rows = rows_of(text)
    assert [(row["Dataset"], row["Head"], row["Loss"]) for row in rows] == [
        ("COCO", "2D", "KL"), ("", "", "DM"),
        ("COCO", "1D", "KL"), ("", "", "DM"),
        ("All", "all", "KL"), ("", "", "DM"),
    ]  # fmt: skip
    gain, low, high = re.fullmatch(r"\+([\d.]+)\* \[\+([\d.]+), \+([\d.]+)\]", rows[0]["difference"]).groups()
    assert float(low) < float(gain) < float(high) and float(gain) == pytest.approx(5, abs=0.3)
    assert rows[0]["P(better)"] == "1.00" and rows[0]["p (Holm)"] == "< 0.001"
    assert "*" not in rows[1]["difference"]
    assert rows[4]["p (Holm)"] == "" and rows[4]["MSE"] == ""
    assert "* p below 0.05 after Holm's correction over 4 comparisons." in text
    assert "Paired by seed, 5 seeds" in text
    full = pd.read_csv(folder / "differences.csv")
    assert list(full.columns[:9]) == [
        "dataset", "model", "head", "loss", "metric", "difference", "low", "high", "probability",
    ]  # fmt: skip
    assert len(full) == 6 and set(full.basis) == {"seeds"}


def test_a_difference_over_fewer_seeds_than_the_columns_says_so(tmp_path: Path) -> None:
    for loss, values in {"mse": (0.40, 0.50, 0.30), "kl": (0.42, 0.52), "dm": (0.1, 0.2, 0.3)}.items():
        for seed, value in enumerate(values):
            write(tmp_path, record(loss=loss, seed=seed, metrics=with_ap(value)))
    said = "Some losses have other seeds than the one they are compared with"
    table = (tables(tmp_path) / "differences.md").read_text()
    assert "40.0 |" in table and "47.0 |" in table and "+2.0" in table and said in table
    write(tmp_path, record(loss="kl", seed=2, metrics=with_ap(0.32)))
    assert said not in (tables(tmp_path) / "differences.md").read_text()


def test_control_rows_alone_have_the_intervals_that_they_show(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 500)
    write(tmp_path, with_bootstrap(record(loss="oracle", control=True), {"metrics.AP": 0.45 + noise}))
    assert "have no interval" not in (tables(tmp_path) / "main.md").read_text()


def test_without_another_loss_there_is_no_table_of_differences(tmp_path: Path) -> None:
    write(tmp_path, record(loss="kl"))
    write(tmp_path, record(loss="dm"))
    assert not (tables(tmp_path) / "differences.md").exists()


def test_failed_cells_say_so_and_missing_seeds_are_named(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path, record(loss="mse", seed=seed))
    write(tmp_path, record(loss="kl", seed=0))
    fail(tmp_path, "awing", 0, "train", "ValueError: the loss is not finite")
    fail(tmp_path, "mse", 1, "train", "outdated by the record")
    text = (tables(tmp_path) / "main.md").read_text()
    assert column(text, "COCO 2D AP")["AWing"] == "failed"
    assert "Failed: COCO tiny 2D awing seed 0 (ValueError: the loss is not finite)." in text
    assert "Missing: COCO tiny 2D kl seed 1." in text
    assert "outdated" not in text


REAL = {"generated": False}


def test_claimed_and_measured_stand_side_by_side_with_a_verdict(tmp_path: Path) -> None:
    # mmpose's MSE of ResNet-50: 71.8 and CrowdPose 63.7; SimCC with KL: 72.1; RSPose on SimCC: 73.6.
    write(tmp_path, record(model="resnet50", metrics=with_ap(0.7230), data=REAL))
    write(tmp_path, record(model="resnet50", loss="dm", title="DM", metrics=with_ap(0.70), data=REAL))
    write(tmp_path, record(model="resnet50", head="simcc", loss="kl", metrics=with_ap(0.7154), data=REAL))
    crowded = {**CROWDPOSE_METRICS, "AP": 0.6421}
    write(tmp_path, record("crowdpose", model="resnet50", metrics=crowded, data=REAL))
    folder = tables(tmp_path)
    text = (folder / "main.md").read_text()
    rows = rows_of(text)
    columns = [f"{name} AP {what}" for name in ("COCO 2D", "COCO 1D", "CrowdPose 2D")
               for what in ("claimed", "measured", "verdict")]  # fmt: skip
    assert list(rows[0]) == ["Loss", *columns]
    assert [tuple(row.values()) for row in rows] == [
        ("MSE", "71.8", "**72.3**", "reproduced", "", "—", "", "63.7", "64.2", "above"),
        ("KL", "", "—", "", "72.1", "71.5", "below", "", "—", ""),
        ("DM", "", "70.0", "", "", "—", "", "", "—", ""),
        ("RSPose", "", "—", "", "73.6", "not run", "not run", "", "—", ""),
    ]
    assert "within 0.5 points" in text


def test_every_claimed_cell_is_listed_and_one_not_run_gives_the_command(tmp_path: Path) -> None:
    write(tmp_path, record(model="resnet50", metrics=with_ap(0.718), data=REAL))
    folder = tables(tmp_path)
    full = pd.read_csv(folder / "claimed.csv").set_index(["dataset", "model", "head", "loss"]).sort_index()
    claims = {claim.cell for claim in read_claims() if claim.model and claim.metric in ("AP", "PCKh")}
    assert set(full.index) == claims
    assert full.loc[("coco", "resnet50", "heatmap", "mse"), "verdict"].item() == "reproduced"
    missing = full.loc[("coco", "vitpose-h", "heatmap", "rspose")].iloc[0]
    assert (missing.claimed, missing.verdict) == (0.799, "not run")
    assert missing.command == (
        "snakemake --configfile config/paper.yaml --config datasets=coco models=vitpose-h "
        "heads=heatmap losses=rspose"
    )
    assert missing.command in (folder / "claimed.md").read_text()


def test_on_paper_claims_have_their_source_in_short_and_no_commands(tmp_path: Path) -> None:
    write(tmp_path, record(model="resnet50", metrics=with_ap(0.723), data=REAL))
    text = (tables(tmp_path) / "claimed.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    claims = [claim for claim in read_claims() if claim.model and claim.metric in ("AP", "PCKh")]
    assert len(rows) == len(claims) + 1
    assert "snakemake" not in text and ".yml" not in text and "Table 2" in text


def test_a_table_that_is_longer_than_a_page_goes_on_in_a_further_one(tmp_path: Path) -> None:
    for model in ("a", "b", "c"):
        for number in range(20):
            write(tmp_path, record(loss=f"loss{number:02}", model=model))
    text = (tables(tmp_path) / "main.tex").read_text()
    first, second = re.findall(r"\\begin\{table\*\}.*?\\end\{table\*\}", text, re.DOTALL)
    assert "continued" not in first and "continued" in second
    assert r"\label{tab:main}" in first and r"\label{tab:main-2}" in second
    # A model is not cut where it fits on a page; its name stands where a page begins.
    assert [part.count("LOSS") for part in (first, second)] in ([20, 40], [40, 20])
    assert second.split(r"\midrule")[1].strip().startswith(("b &", "c &"))


def test_generated_data_are_compared_with_nothing_published(tmp_path: Path) -> None:
    write(tmp_path, record(model="resnet50", metrics=with_ap(0.718)))
    folder = tables(tmp_path)
    assert not (folder / "claimed.md").exists()
    assert list(rows_of((folder / "main.md").read_text())[0]) == ["Loss", "COCO 2D AP"]


def test_markdown_is_aligned_in_raw_form(tmp_path: Path) -> None:
    write(tmp_path, record(loss="mse", title="A title with a | in it"))
    write(tmp_path, record(loss="kl", metrics=with_ap(0.05)))
    for path in tables(tmp_path).glob("*.md"):
        widths = {len(line) for line in path.read_text().splitlines() if line.startswith("|")}
        assert len(widths) == 1
        assert r"a \| in" in path.read_text()


def test_csv_holds_the_numbers_of_the_records_in_full(tmp_path: Path) -> None:
    contents = [
        record(loss="mse", metrics=with_ap(1 / 3)),
        record(loss="rspose", head="simcc", metrics=with_ap(0.1 + 0.2), reconstruction=True),
        record(loss="oracle", control=True, metrics=with_ap(None)),
    ]
    for content in contents:
        write(tmp_path, content)
    folder = tables(tmp_path)
    numbers = pd.read_csv(folder / "coco.csv", float_precision="round_trip")
    found = {
        (row.model, row.head, row.loss, row.metric.removeprefix("metrics.")): row.mean
        for row in numbers.itertuples(index=False)
    }
    expected = {
        (content["cell"]["model"], content["cell"]["head"], content["cell"]["loss"], name): value
        for content in contents
        for name, value in content["metrics"].items()
        if value is not None
    }
    assert found == expected
    assert set(numbers.seeds) == {1} and numbers["std"].isna().all()
    assert set(numbers.loss[numbers.reconstruction]) == {"rspose"}
    assert set(numbers.loss[numbers.control]) == {"oracle"}
    confidence = pd.read_csv(folder / "confidence.csv")
    assert set(confidence.metric) == {
        f"confidence.{level}.{name}" for level in ("keypoint", "pose") for name in ("spearman", "kendall")
    }
    assert list(pd.read_csv(folder / "main.csv").metric.unique()) == ["metrics.AP"]


def test_latex_is_sound_and_marks_the_same_cells_bold(tmp_path: Path) -> None:
    for model, head, seed in product(("r_50", "v_t"), ("heatmap", "simcc"), (0, 1)):
        for loss, value in (("mse", 0.4), ("dm", 0.5)):
            write_aps(tmp_path, {loss: value}, head=head, model=model, seed=seed, title=f"100% & {loss}_#")
    write(tmp_path, record(loss="oracle", control=True))
    folder = tables(tmp_path)
    for path in folder.glob("*.tex"):
        text = path.read_text()
        assert text.isascii() and text.count(r"\textbf{") == len(
            re.findall(r"\*\*[-\d.]+\*\*", path.with_suffix(".md").read_text())
        )
    text = (folder / "coco.tex").read_text()
    # Both heads side by side are wider than a page: they stand below each other.
    assert text.index(r"{c}{2D} \\") < text.index(r"{c}{1D} \\")
    assert text.count(r"\begin{tabular}") == 2
    assert r"v{\_}t & 100{\%} {\&} mse{\_}{\#} & 40.0 &  {\scriptsize$\pm$0.0}" in text
    assert r"control & \emph{ORACLE} & 45.1" in text


@given(st.text(alphabet="a\\~^&%$#_{}†—±", max_size=20))
def test_escaped_text_has_no_latex_syntax_of_its_own(text: str) -> None:
    sign = r"\{\\(text\w+|[&%$#_{}]|ensuremath\{\\pm\})\}"
    assert re.fullmatch(f"(a|{sign})*", escaped(text))


def test_words_of_a_record_are_no_markup_in_markdown(tmp_path: Path) -> None:
    title = r"# b</script><img src=x> [c](javascript:d) | \| \\|"
    write(tmp_path, record(loss="mse", title=title))
    write(tmp_path, record(loss="kl", metrics=with_ap(0.05), protocol={"nms": "<b>"}))
    for path in tables(tmp_path).glob("*.md"):
        text = path.read_text()
        assert r"# b&lt;/script>&lt;img src=x> [c]\(javascript:d) \| \\\| \\\\\|" in text
        assert not re.search(r"<[a-zA-Z/]", text)


def test_a_folder_without_a_usable_record_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="no usable record under") as error:
        make_tables(tmp_path, tmp_path / "tables")
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "tables").exists()


def test_controls_alone_make_a_table(tmp_path: Path) -> None:
    write(tmp_path, record(loss="oracle", control=True, metrics=with_ap(0.9)))
    assert column((tables(tmp_path) / "coco.md").read_text(), "control AP") == {"*ORACLE*": "90.0"}


def test_tables_of_five_hundred_records_are_made_without_torch(tmp_path: Path) -> None:
    losses = ("mse", "kl", "awing", "fowkal", "dm", "rspose")
    for dataset, metrics in (("coco", COCO_METRICS), ("mpii", MPII_METRICS)):
        for loss, head, seed, model in product(losses, ("heatmap", "simcc"), range(7), ("a", "b", "c")):
            write(tmp_path, record(dataset, loss, head, seed, model, metrics=metrics))
    script = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'mmpose', 'mmengine', 'mmcv', 'xtcocotools'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from rspose.reporting.tables import make_tables\n"
        "import rspose.reporting.figures\n"
        "print(len(make_tables(Path(sys.argv[1]), Path(sys.argv[2]))))\n"
    )
    # Two datasets, confidence, differences and the overview, three formats each.
    assert python("-c", script, tmp_path, tmp_path / "tables") == "15\n"
    assert len(list(tmp_path.rglob("seed*.json"))) == 504
