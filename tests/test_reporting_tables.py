"""Tables: the right number in the right place, what is bold, and what the notes say."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders.grid import REPOSITORY
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


def made(root: Path, *contents: dict[str, Any], name: str = "coco.md") -> str:
    """A table of these records and those that lie in ``root``; the others are beside it in ``tables``."""
    for content in contents:
        write(root, content)
    make_tables(root, root / "tables")
    return (root / "tables" / name).read_text()


def with_ap(value: float | None) -> dict[str, float | None]:
    return {**COCO_METRICS, "AP": value}


def aps(values: dict[str, float | None], **changes: Any) -> list[dict[str, Any]]:
    """A record of each loss that differs in its AP."""
    return [record(loss=loss, metrics=with_ap(value), **changes) for loss, value in values.items()]


def test_a_loss_that_pairs_with_nothing_is_not_bold(tmp_path: Path) -> None:
    def bold() -> list[str]:
        return [name for name, text in column(made(tmp_path), "2D AP").items() if "**" in text]

    for seed in range(3):
        write(tmp_path, *aps({"mse": 0.40 + 0.01 * seed}, seed=seed))
        write(tmp_path, *aps({"dm": 0.405 + 0.01 * seed}, seed=seed + 3))
    assert bold() == [], "nothing is compared"
    for seed in range(3):
        write(tmp_path, *aps({"kl": 0.50 + 0.01 * seed}, seed=seed))
    assert bold() == ["KL"]


def test_a_number_that_some_seeds_lack_is_not_said_to_be_of_all_of_them(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, record(seed=seed))
        pose = 0.4 if seed == 0 else None
        write(tmp_path, record(loss="rspose", seed=seed, correlations=(0.3, 0.2, pose, pose)))
    text = made(tmp_path, name="confidence.md")
    assert column(text, "2D pose ρ") == {"MSE": "0.41 ± 0.00 [0.41, 0.41]", "RSPOSE": "0.40"}
    assert "over 1 to 3 seeds; a number without ± is from one seed" in text


def drawn(loss: str, ap: float, spread: float, seed: int) -> dict[str, Any]:
    """A record whose bootstrap over images spreads by ``spread`` in a way of its own."""
    noise = np.random.default_rng(seed).normal(0, spread, 500)
    return with_bootstrap(record(loss=loss, metrics=with_ap(ap)), {"metrics.AP": ap + noise})


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
    half = {name: value / 2 for name, value in COCO_METRICS.items()}
    (row,) = rows_of(made(tmp_path, record(), record(head="simcc", metrics=half)))
    assert list(row) == ["Loss", *(f"{head} {name}" for head in ("2D", "1D") for name in COCO_METRICS)]
    assert list(row.values()) == [
        "MSE", "45.1", "70.0", "50.0", "40.0", "50.0", "55.0", "22.6", "35.0", "25.0", "20.0", "25.0", "27.5",
    ]  # fmt: skip


def test_each_dataset_has_its_own_metrics(tmp_path: Path) -> None:
    (crowd,) = rows_of(made(tmp_path, record("crowdpose", metrics=CROWDPOSE_METRICS), name="crowdpose.md"))
    assert crowd == {
        "Loss": "MSE", "2D AP": "51.0", "2D AP50": "80.0", "2D AP75": "55.0",
        "2D APE": "60.0", "2D APM": "50.0", "2D APH": "30.0",
    }  # fmt: skip
    (mpii,) = rows_of(made(tmp_path, record("mpii", metrics=MPII_METRICS), name="mpii.md"))
    assert mpii == {
        "Loss": "MSE", "2D Head": "95.1", "2D Sho.": "94.0", "2D Elb.": "83.0", "2D Wri.": "74.0",
        "2D Hip": "82.0", "2D Knee": "73.0", "2D Ank.": "62.0", "2D Mean": "81.2", "2D @0.1": "21.1",
    }  # fmt: skip


def test_a_dataset_that_is_new_here_shows_the_metrics_of_its_records(tmp_path: Path) -> None:
    hands = record("hands", metrics={"AUC": 0.8, "EPE": 0.1})
    assert column(made(tmp_path, record(), hands, name="hands.md"), "2D AUC") == {"MSE": "80.0"}
    assert column(made(tmp_path, name="main.md"), "hands 2D AUC") == {"MSE": "80.0"}


def test_the_overview_has_the_main_metric_of_every_dataset_and_head(tmp_path: Path) -> None:
    mpii = record("mpii", head="simcc", metrics=MPII_METRICS)
    others = [*aps({"mse": 0.3}, head="simcc"), *aps({"kl": 0.4})]
    assert rows_of(made(tmp_path, mpii, *others, name="main.md")) == [
        {"Loss": "MSE", "COCO 2D AP": "—", "COCO 1D AP": "30.0", "MPII 1D PCKh": "81.2"},
        {"Loss": "KL", "COCO 2D AP": "40.0", "COCO 1D AP": "—", "MPII 1D PCKh": "—"},
    ]


def test_losses_stand_in_canonical_order_and_controls_last(tmp_path: Path) -> None:
    losses = ("zeta", "rspose", "dm", "alpha", "fowkal", "awing", "kl", "mse")
    controls = [record(loss=control, control=True) for control in ("mean_pose", "oracle")]
    assert list(column(made(tmp_path, *controls, *(record(loss=loss) for loss in losses)), "2D AP")) == [
        "MSE", "KL", "AWING", "FOWKAL", "DM", "RSPOSE", "ALPHA", "ZETA", "*ORACLE*", "*MEAN_POSE*",
    ]  # fmt: skip


def test_one_seed_prints_nothing_bold_and_says_why(tmp_path: Path) -> None:
    text = made(tmp_path, drawn("mse", 0.45, 0.01, seed=1), drawn("kl", 0.25, 0.01, seed=2))
    assert "**" not in "".join(line for line in text.splitlines() if line.startswith("|"))
    assert "nothing is bold: another may turn the order round" in text and "≈" not in text


def test_controls_are_never_bold_and_stand_under_both_heads(tmp_path: Path) -> None:
    oracle = record(loss="oracle", title="Oracle keypoints", control=True, metrics=with_ap(0.9))
    mean = record(loss="mean_pose", title="Mean pose", control=True, metrics=with_ap(0.1))
    for head, seed in product(("heatmap", "simcc"), range(3)):
        values = {"mse": 0.4 + 0.001 * seed, "kl": 0.3 - 0.001 * seed}
        text = made(tmp_path, oracle, mean, *aps(values, head=head, seed=seed))
    for head in ("2D", "1D"):
        shown = {loss: value.split(" ")[0] for loss, value in column(text, f"{head} AP").items()}
        expected = {"MSE": "**40.1**", "KL": "29.9", "*Oracle keypoints*": "90.0", "*Mean pose*": "10.0"}
        assert shown == expected


def test_each_model_is_a_group_of_rows_with_its_own_best(tmp_path: Path) -> None:
    oracle = record(loss="oracle", control=True, metrics=with_ap(0.9))
    for seed, more in enumerate((0.0, 0.001, -0.001)):
        small = aps({"mse": 0.3 + more, "kl": 0.2}, model="small", seed=seed)
        large = aps({"mse": 0.5, "kl": 0.6 + more}, model="large", seed=seed)
        rows = rows_of(made(tmp_path, oracle, *small, *large))
    assert [(row["Model"], row["Loss"], row["2D AP"].split(" ")[0]) for row in rows] == [
        ("large", "MSE", "50.0"),
        ("", "KL", "**60.0**"),
        ("small", "MSE", "**30.0**"),
        ("", "KL", "20.0"),
        ("control", "*ORACLE*", "90.0"),
    ]


def test_missing_cells_and_empty_splits_are_dashes_and_do_not_compete(tmp_path: Path) -> None:
    large = {"mse": None, "kl": 0.1, "awing": 0.2}
    losses = [record(loss=loss, metrics={**COCO_METRICS, "APL": value}) for loss, value in large.items()]
    text = made(tmp_path, *losses, record(loss="kl", head="simcc"))
    assert column(text, "2D APL") == {"MSE": "—", "KL": "10.0", "AWING": "20.0"}
    assert column(text, "1D AP") == {"MSE": "—", "KL": "45.1", "AWING": "—"}
    assert "— No record of this cell" in text


def test_a_complete_table_does_not_explain_dashes_daggers_or_controls(tmp_path: Path) -> None:
    text = made(tmp_path, record())
    assert not any(word in text for word in ("—", "†", "control", "Italics"))


@pytest.mark.parametrize("name", ["coco", "confidence", "main"])
def test_reconstructions_carry_a_dagger_and_its_footnote(tmp_path: Path, name: str) -> None:
    rspose = record(loss="rspose", title="RSPose", reconstruction=True)
    text = made(tmp_path, record(), rspose, name=f"{name}.md")
    assert [row["Loss"] for row in rows_of(text)] == ["MSE", "RSPose †"]
    assert text.count("† Reconstruction:") == 1
    latex = (tmp_path / "tables" / f"{name}.tex").read_text()
    assert r"RSPose {\textdagger} &" in latex
    assert r"{\textdagger} Reconstruction:" in latex


def test_losses_that_share_a_title_are_told_apart_by_name(tmp_path: Path) -> None:
    text = made(tmp_path, *(record(loss=loss, title="RSPose") for loss in ("rspose", "rspose_sharp")))
    assert list(column(text, "2D AP")) == ["RSPose (rspose)", "RSPose (rspose_sharp)"]


def test_several_seeds_show_mean_and_deviation_and_one_seed_says_so(tmp_path: Path) -> None:
    seeds = [aps({"mse": value}, seed=seed)[0] for seed, value in enumerate((0.40, 0.44, 0.45))]
    text = made(tmp_path, *seeds, *aps({"kl": 0.44}))
    # mean 0.43; deviations -3, +1, +2 percent: the root of (9 + 1 + 4) / 2 is 2.65.
    found = column(text, "2D AP")
    assert found["KL"] == "44.0"
    low, high = re.fullmatch(r"43\.0 ± 2\.6 \[([\d.]+), ([\d.]+)\]", found["MSE"]).groups()
    assert float(low) < 40 and float(high) > 45
    assert "over 1 to 3 seeds; a number without ± is from one seed and has no interval" in text
    # Columns beside the main metric show no interval.
    assert column(text, "2D AP50")["MSE"] == "70.0 ± 0.0"
    expected = rf"43.0 &  {{\scriptsize$\pm$2.6}} & {{\scriptsize [{low}, {high}]}}"
    assert expected in (tmp_path / "tables" / "coco.tex").read_text()


@pytest.mark.parametrize(
    ("seeds", "said"), [(1, "One seed per cell: the numbers have no interval."), (2, "over 2 seeds.")]
)
def test_the_number_of_seeds_is_said(tmp_path: Path, seeds: int, said: str) -> None:
    made(tmp_path, *(record(seed=seed) for seed in range(seeds)), record(loss="oracle", control=True))
    assert all(said in path.read_text() for path in (tmp_path / "tables").glob("*.md"))


def test_correlations_have_two_decimals_and_no_sign_on_zero(tmp_path: Path) -> None:
    text = made(
        tmp_path,
        record(correlations=(-0.001, 0.222, 0.516, -0.126)),
        record(loss="kl", correlations=(0.1, 0.2, 0.3, None)),
        record("mpii", correlations=(0.6, 0.5, 0.4, 0.3), metrics=MPII_METRICS),
        record(loss="oracle", control=True, correlations=(None,) * 4),
        name="confidence.md",
    )
    assert [tuple(row.values()) for row in rows_of(text)] == [
        ("COCO", "MSE", "0.00", "0.22", "0.52", "-0.13"),
        ("", "KL", "0.10", "0.20", "0.30", "—"),
        ("MPII", "MSE", "0.60", "0.50", "0.40", "0.30"),
    ]
    headers = ["Dataset", "Loss", "2D kpt. ρ", "2D kpt. τ", "2D pose ρ", "2D pose τ"]
    assert list(rows_of(text)[0]) == headers


def test_correlations_by_type_stand_where_records_have_them_and_constants_below_mse(tmp_path: Path) -> None:
    by_type = {"within_types": 0.45, "between_types": 0.9, "type_constants": 0.58}
    of_mse, of_kl = (
        {level: {"spearman": rho + more} for level, rho in by_type.items()} for more in (0.0, 0.01)
    )
    write(tmp_path, record("mpii", metrics=MPII_METRICS))
    write(tmp_path, record(confidence=of_mse))
    text = made(tmp_path, record(loss="kl", confidence=of_kl), name="confidence.md")
    assert [tuple(row.values()) for row in rows_of(text)] == [
        ("COCO", "MSE", "0.31", "0.22", "0.41", "0.32", "0.45", "0.90"),
        ("", "*MSE with one constant a type*", "0.58", *["—"] * 5),
        ("", "KL", "0.31", "0.22", "0.41", "0.32", "0.46", "0.91"),
        ("MPII", "MSE", "0.31", "0.22", "0.41", "0.32", "—", "—"),
    ]
    assert list(rows_of(text)[0])[-2:] == ["2D within ρ", "2D between ρ"]
    assert "constants fitted on other images" in text


def test_calibrated_scores_stand_beside_those_as_they_are(tmp_path: Path) -> None:
    def of(shift: float) -> dict[str, Any]:
        ranks = {"keypoint_spearman": 0.5 + shift, "pose_spearman": 0.6 + shift}
        return {**ranks, "AP": 0.46 + shift, "AP_lost": 0.07 + shift, "AP_own_threshold": 0.47 + shift}

    content = record(confidence={"calibrated": {"pooled": of(0.0), "by_type": of(0.01)}})
    ordering = {"AP_lost": 0.08, "AP_own_threshold": 0.455}
    write(tmp_path, {**content, "diagnosis": {"ordering": ordering}})
    ranks = {"keypoint_spearman": 0.5, "pose_spearman": None}
    of_mpii = {"calibrated": {"pooled": ranks, "by_type": ranks}}
    write(tmp_path, record("mpii", metrics=MPII_METRICS, confidence=of_mpii))
    text = made(tmp_path, record(loss="kl"), name="calibration.md")
    as_scored, none = ("45.1", "45.5", "8.0", "0.31", "0.41"), ("—",) * 3
    assert [tuple(row.values())[3:] for row in rows_of(text)] == [
        (*as_scored, "46.0", "47.0", "7.0", "0.50", "0.60", "47.0", "48.0", "8.0", "0.51", "0.61"),
        (*none, "0.31", "0.41", *none, "0.50", "—", *none, "0.50", "—"),
    ]
    assert "the other half of the images" in text


def test_readings_stand_below_mse_and_kl_each_with_its_open_point_and_source(tmp_path: Path) -> None:
    write(tmp_path, record(confidence={"within_types": {"spearman": 0.45}}))
    write(tmp_path, record(loss="awing"))
    printed = record(loss="fwahr-printed", title="FWAHR, printed")
    printed["loss"] |= {"reference": "a poster", "reading": "what is tested"}
    write(tmp_path, printed)
    text = made(tmp_path, record(loss="kl"), name="readings.md")
    assert [tuple(row.values()) for row in rows_of(text)] == [
        ("MSE", "", "a paper", "45.1", "0.31", "0.45", "0.41"),
        ("KL", "", "a paper", "45.1", "0.31", "—", "0.41"),
        ("FWAHR, printed", "what is tested", "a poster", "45.1", "0.31", "—", "0.41"),
    ]
    assert list(rows_of(text)[0])[:3] == ["Loss", "Open point", "Source"]


def test_poses_on_ground_truth_boxes_are_calibrated_where_records_have_them(tmp_path: Path) -> None:
    ranks = {"keypoint_spearman": 0.5, "pose_spearman": 0.6, "pose_on_truth_spearman": 0.7}
    native = {"spearman": 0.65, "kendall": 0.5, "pearson": 0.4, "n": 80}
    calibrated = {"pooled": ranks, "by_type": {**ranks, "pose_on_truth_spearman": 0.71}}
    content = record(confidence={"pose_on_truth": native, "calibrated": calibrated})
    (row,) = rows_of(made(tmp_path, content, name="calibration.md"))
    columns = [f"{group} GT pose ρ" for group in ("As scored", "Calibrated", "By type")]
    assert [row[column] for column in columns] == ["0.65", "0.70", "0.71"]


def test_notes_name_data_training_and_protocol(tmp_path: Path) -> None:
    mpii = record("mpii", metrics=MPII_METRICS, data={"generated": False, "val_instances": 2958})
    coco = made(tmp_path, record(), mpii)
    assert coco.startswith("**COCO val, generated data: ")
    for words in (
        "4000 training instances", "900 validation instances", "model tiny", "600 iterations of batch 32",
        "input 96 × 128", "detection boxes boxes_56.json", "no flip test", "keypoint score threshold 0.2",
        "OKS-NMS threshold 0.9", "evaluator xtcocotools 1.14.3",
    ):  # fmt: skip
        assert words in coco
    text = (tmp_path / "tables" / "mpii.md").read_text()
    assert text.startswith("**MPII val, real data: ") and "ground-truth boxes" in text
    shared, own_coco, own_mpii = (tmp_path / "tables" / "main.md").read_text().splitlines()[-4:-1]
    assert shared.startswith("All datasets: ") and "600 iterations" in shared
    assert own_coco.startswith("COCO: generated data; 900 validation")
    assert own_mpii.startswith("MPII: real data; 2958 validation")


def test_notes_name_every_value_where_the_records_differ(tmp_path: Path) -> None:
    changes = {
        "training": {"iterations": 300},
        "protocol": {"flip_test": True},
        "data": {"checksum": "other"},
    }
    text = made(tmp_path, record(), record(loss="kl", **changes))
    assert "600 / 300 iterations" in text
    assert "no flip test / flip test" in text
    assert "WARNING: the records come from 2 different copies of the data" in text


def test_intervals_over_images_stand_beside_the_main_metric_and_are_explained(tmp_path: Path) -> None:
    values = {"metrics.AP": np.linspace(0.40, 0.50, 401), "metrics.AP50": np.linspace(0.65, 0.75, 401)}
    text = made(tmp_path, with_bootstrap(record(metrics=with_ap(0.45)), values))
    assert column(text, "2D AP") == {"MSE": "45.0 [40.2, 49.8]"}
    assert column(text, "2D AP50") == {"MSE": "70.0"}
    assert "In brackets: 95 % interval of a bootstrap over the validation images" in text
    folder = tmp_path / "tables"
    assert column((folder / "main.md").read_text(), "COCO 2D AP") == {"MSE": "45.0 [40.2, 49.8]"}
    assert "45.0 & {\\scriptsize [40.2, 49.8]}" in (folder / "main.tex").read_text()
    numbers = pd.read_csv(folder / "coco.csv").set_index("metric")
    ends = numbers.loc["metrics.AP50", ["low", "high"]]
    assert list(ends) == pytest.approx([0.6525, 0.7475], abs=2e-5)
    assert numbers.loc["metrics.AP50", "basis"] == "images"
    assert pd.isna(numbers.loc["metrics.AP75", "basis"])


def test_a_record_without_a_bootstrap_is_shown_without_an_interval_beside_others(tmp_path: Path) -> None:
    text = made(tmp_path, drawn("mse", 0.45, 0.01, seed=1), *aps({"kl": 0.40}), name="main.md")
    assert column(text, "COCO 2D AP")["KL"] == "40.0"
    assert "A number without an interval is from a record of an earlier version." in text


def test_what_is_not_shown_to_be_worse_than_the_best_is_bold_and_an_equal_marked(tmp_path: Path) -> None:
    # Seeds differ by far more than losses do; what counts are the differences of the same seeds.
    lower = {
        "mse": (0,) * 5,
        "kl": (0.02, 0.021, 0.019, 0.02, 0.02),  # worse in each of them
        "dm": (0.02, -0.02, 0.02, -0.022, 0.015),  # nothing is known
        "awing": (0.0001, 0.0003, 0.0002, 0.0001, 0.0003),  # within half a point for sure
    }
    for seed, of_seed in enumerate((0.03, -0.02, 0.0, 0.04, -0.05)):
        values = {loss: 0.5 + of_seed - offsets[seed] for loss, offsets in lower.items()}
        text = made(tmp_path, *aps(values, seed=seed))
    means = {loss: value.split(" ")[0] for loss, value in column(text, "2D AP").items()}
    assert means == {"MSE": "**50.0**", "KL": "48.0", "AWING": "**50.0**≈", "DM": "**49.7**"}
    assert "all that pair with it and are not shown to be worse by more than 0.5 points" in text
    assert "≈ Equivalent to the best: within 0.5 points of it." in text
    assert r"{\ensuremath{\approx}}" in (tmp_path / "tables" / "coco.tex").read_text()


def test_differences_to_mse_stand_with_interval_probability_and_corrected_p(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    gains = {"mse": 0.0, "kl": 0.05, "dm": 0.0001}
    for head, loss, seed in product(("heatmap", "simcc"), gains, range(5)):
        (content,) = aps({loss: 0.4 + gains[loss] + rng.normal(0, 0.002)}, head=head, seed=seed)
        write(tmp_path, content)
    text = made(tmp_path, name="differences.md")
    rows = rows_of(text)
    assert [(row["Dataset"], row["Head"], row["Loss"]) for row in rows] == [
        ("COCO", "2D", "KL"), ("", "", "DM"),
        ("COCO", "1D", "KL"), ("", "", "DM"),
        ("All", "all", "KL"), ("", "", "DM"),
    ]  # fmt: skip
    gain, low, high = re.fullmatch(r"\+([\d.]+) \[\+([\d.]+), \+([\d.]+)\]", rows[0]["difference"]).groups()
    assert float(low) < float(gain) < float(high) and float(gain) == pytest.approx(5, abs=0.3)
    assert rows[0]["P(better)"] == "1.00 [0.57, 1.00]" and rows[0]["p"] == "< 0.001"
    assert rows[0]["p (signs)"] == "0.062"  # 2 of 2^5
    assert [row["verdict"] for row in rows[:4]] == [
        "better",
        rows[1]["verdict"],
        "better",
        rows[3]["verdict"],
    ]
    assert {rows[1]["verdict"], rows[3]["verdict"]} <= {"equivalent", "undecided"}
    assert rows[4]["p"] == rows[4]["verdict"] == "" and rows[4]["MSE"] == ""
    assert "all 4 comparisons together" in text
    assert "Paired by seed, 5 seeds" in text
    full = pd.read_csv(tmp_path / "tables" / "differences.csv")
    assert list(full.columns[:9]) == [
        "dataset", "model", "head", "loss", "metric", "difference", "low", "high", "probability",
    ]  # fmt: skip
    assert len(full) == 6 and set(full.basis) == {"seeds"}


def test_a_difference_over_fewer_seeds_than_the_columns_says_so(tmp_path: Path) -> None:
    of_seeds = {"mse": (0.40, 0.50, 0.30), "kl": (0.42, 0.52), "dm": (0.1, 0.2, 0.3)}
    contents = [aps({loss: v}, seed=seed)[0] for loss, vs in of_seeds.items() for seed, v in enumerate(vs)]
    said = "Some losses have other seeds than the one they are compared with"
    table = made(tmp_path, *contents, name="differences.md")
    assert "40.0 |" in table and "47.0 |" in table and "+2.0" in table and said in table
    assert said not in made(tmp_path, *aps({"kl": 0.32}, seed=2), name="differences.md")


def test_control_rows_alone_have_the_intervals_that_they_show(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 500)
    oracle = record(loss="oracle", control=True, metrics=with_ap(0.9), correlations=(None,) * 4)
    text = made(tmp_path, with_bootstrap(oracle, {"metrics.AP": 0.9 + noise}))
    assert column(text, "control AP")["*ORACLE*"].startswith("90.0 [")
    assert "have no interval" not in made(tmp_path, name="main.md")
    assert rows_of(made(tmp_path, name="confidence.md")) == []


def test_without_another_loss_there_is_no_table_of_differences(tmp_path: Path) -> None:
    made(tmp_path, record(loss="kl"), record(loss="dm"))
    assert not (tmp_path / "tables" / "differences.md").exists()


def test_failed_cells_say_so_and_missing_seeds_are_named(tmp_path: Path) -> None:
    fail(tmp_path, "awing", 0, "train", "ValueError: the loss is not finite")
    fail(tmp_path, "mse", 1, "train", "outdated by the record")
    text = made(tmp_path, record(), record(seed=1), record(loss="kl"), name="main.md")
    assert column(text, "COCO 2D AP")["AWing"] == "failed"
    assert "Failed: COCO tiny 2D awing seed 0 (ValueError: the loss is not finite)." in text
    assert "Missing: COCO tiny 2D kl seed 1." in text
    assert "outdated" not in text


REAL: dict[str, Any] = {"model": "resnet50", "data": {"generated": False}}


def test_claimed_and_measured_stand_side_by_side_with_a_verdict(tmp_path: Path) -> None:
    # mmpose's MSE of ResNet-50: 71.8 and CrowdPose 63.7; SimCC with KL: 72.1; RSPose on SimCC: 73.6.
    crowded = record("crowdpose", metrics={**CROWDPOSE_METRICS, "AP": 0.6421}, **REAL)
    dm = record(loss="dm", title="DM", metrics=with_ap(0.70), **REAL)
    others = [*aps({"mse": 0.7230}, **REAL), *aps({"kl": 0.7154}, head="simcc", **REAL)]
    text = made(tmp_path, crowded, dm, *others, name="main.md")
    rows = rows_of(text)
    columns = [f"{name} AP {what}" for name in ("COCO 2D", "COCO 1D", "CrowdPose 2D")
               for what in ("claimed", "measured", "verdict")]  # fmt: skip
    assert list(rows[0]) == ["Loss", *columns]
    assert [tuple(row.values()) for row in rows] == [
        ("MSE", "71.8", "72.3", "reproduced", "", "—", "", "63.7", "64.2", "above"),
        ("KL", "", "—", "", "72.1", "71.5", "below", "", "—", ""),
        ("DM", "", "70.0", "", "", "—", "", "", "—", ""),
        ("RSPose", "", "—", "", "73.6", "not run", "not run", "", "—", ""),
    ]
    assert "within 0.5 points" in text


def test_every_claimed_cell_is_listed_and_one_not_run_gives_the_command(tmp_path: Path) -> None:
    text = made(tmp_path, *aps({"mse": 0.718}, **REAL), name="claimed.md")
    full = pd.read_csv(tmp_path / "tables" / "claimed.csv").set_index(["dataset", "model", "head", "loss"])
    claims = [claim for claim in read_claims() if claim.model and claim.metric in ("AP", "PCKh")]
    assert set(full.index) == {claim.cell for claim in claims}
    full = full.sort_index()
    assert full.loc[("coco", "resnet50", "heatmap", "mse"), "verdict"].item() == "reproduced"
    missing = full.loc[("coco", "vitpose-h", "heatmap", "rspose")].iloc[0]
    assert (missing.claimed, missing.verdict) == (0.799, "not run")
    assert missing.command == (
        "snakemake --configfile config/paper.yaml --config datasets=coco models=vitpose-h "
        "heads=heatmap losses=rspose"
    )
    assert missing.command in text
    # On paper they have their source in short and no commands.
    text = (tmp_path / "tables" / "claimed.tex").read_text()
    assert sum(line.endswith(r" \\") for line in text.splitlines()) == len(claims) + 1
    assert "snakemake" not in text and ".yml" not in text and "Table 2" in text


def test_a_table_that_is_longer_than_a_page_goes_on_in_a_further_one(tmp_path: Path) -> None:
    grid = product(("a", "b", "c"), range(20))
    text = made(tmp_path, *(record(loss=f"loss{n:02}", model=model) for model, n in grid), name="main.tex")
    first, second = re.findall(r"\\begin\{table\*\}.*?\\end\{table\*\}", text, re.DOTALL)
    assert "continued" not in first and "continued" in second
    assert r"\label{tab:main}" in first and r"\label{tab:main-2}" in second
    # A model is not cut where it fits on a page; its name stands where a page begins.
    assert [part.count("LOSS") for part in (first, second)] in ([20, 40], [40, 20])
    assert second.split(r"\midrule")[1].strip().startswith(("b &", "c &"))


def test_generated_data_are_compared_with_nothing_published(tmp_path: Path) -> None:
    text = made(tmp_path, record(model="resnet50", metrics=with_ap(0.718)), name="main.md")
    assert not (tmp_path / "tables" / "claimed.md").exists()
    assert list(rows_of(text)[0]) == ["Loss", "COCO 2D AP"]


def test_csv_holds_the_numbers_of_the_records_in_full(tmp_path: Path) -> None:
    contents = [
        *aps({"mse": 1 / 3}),
        *aps({"rspose": 0.1 + 0.2}, head="simcc", reconstruction=True),
        *aps({"oracle": None}, control=True),
    ]
    made(tmp_path, *contents)
    folder = tmp_path / "tables"
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
            changes = {"head": head, "model": model, "seed": seed, "title": f"100% & {loss}_#"}
            write(tmp_path, record(loss=loss, metrics=with_ap(value), **changes))
    text = made(tmp_path, record(loss="oracle", control=True), name="coco.tex")
    for path in (tmp_path / "tables").glob("*.tex"):
        assert path.read_text().isascii() and path.read_text().count(r"\textbf{") == len(
            re.findall(r"\*\*[-\d.]+\*\*", path.with_suffix(".md").read_text())
        )
    # Both heads side by side are wider than a page: they stand below each other.
    assert text.index(r"{c}{2D} \\") < text.index(r"{c}{1D} \\")
    assert text.count(r"\begin{tabular}") == 2
    assert r"v{\_}t & 100{\%} {\&} mse{\_}{\#} & 40.0 &  {\scriptsize$\pm$0.0}" in text
    assert r"control & \emph{ORACLE} & 45.1" in text


@given(st.text(alphabet="a\\~^&%$#_{}†—±", max_size=20))
def test_escaped_text_has_no_latex_syntax_of_its_own(text: str) -> None:
    sign = r"\{\\(text\w+|[&%$#_{}]|ensuremath\{\\pm\})\}"
    assert re.fullmatch(f"(a|{sign})*", escaped(text))


def test_words_of_a_record_are_no_markup_in_markdown_which_is_aligned_in_raw_form(tmp_path: Path) -> None:
    title = r"# b</script><img src=x> [c](javascript:d) | \| \\|"
    made(tmp_path, record(title=title), *aps({"kl": 0.05}, protocol={"nms": "<b>"}))
    for path in (tmp_path / "tables").glob("*.md"):
        text = path.read_text()
        assert r"# b&lt;/script>&lt;img src=x> [c]\(javascript:d) \| \\\| \\\\\|" in text
        assert not re.search(r"<[a-zA-Z/]", text)
        assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1


def test_a_folder_without_a_usable_record_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match="no usable record under") as error:
        make_tables(tmp_path, tmp_path / "tables")
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "tables").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "study", [path.parent.name for path in sorted((REPOSITORY / "results/reference").glob("*/tables"))]
)
def test_the_tables_beside_reference_records_are_those_that_the_records_give(
    study: str, tmp_path: Path
) -> None:
    folder = REPOSITORY / "results/reference" / study
    written = {path.relative_to(tmp_path): path.read_text() for path in make_tables(folder, tmp_path)}
    kept = folder / "tables"
    assert written == {path.relative_to(kept): path.read_text() for path in kept.rglob("*.*")}


def test_a_table_says_how_losses_were_tuned(tmp_path: Path) -> None:
    tuned = record(loss="kl", training={"tuning": {"trials": 8, "chosen": 3}})
    assert "tuned, 8 trials a loss" in made(tmp_path / "one", tuned)
    assert "; as published / tuned, 8 trials a loss;" in made(tmp_path / "two", record(), tuned)
    tuned["training"]["tuning"]["dataset"] = "crowdpose"
    assert "tuned on CrowdPose, 8 trials a loss" in made(tmp_path / "four", tuned)
    assert "as published" not in made(tmp_path / "three", record())
