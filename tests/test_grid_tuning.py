"""Tuning: the same budget and points for every loss, what a trial changes, what is chosen and held out."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.datasets import noisy_predictions, write_dataset
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import qmc

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations
from rspose.datasets.held_out import held_out_persons
from rspose.evaluation.detections import instance_scores
from rspose.evaluation.evaluate import precision_on_boxes
from rspose.grid.cell import Cell
from rspose.grid.config import ConfigError, GridConfig, complete
from rspose.grid.fingerprints import training_fingerprint
from rspose.grid.tuning import (
    Point,
    choose,
    folder,
    keep_choices,
    kept,
    points,
    read_choice,
    tried,
    tuned,
    write_choice,
)
from rspose.losses import HeatmapLoss, Tunable, available, register
from rspose.training.compose import compose

CELL = Cell("coco", "tiny", "heatmap", "rspose", 3)
TUNING = {"trials": 9, "length": 0.5, "held_out": {"share": 0.25, "seed": 1}, "seed": 7}


@pytest.fixture
def config(settings: dict[str, Any], tmp_path: Path) -> GridConfig:
    """The tiny grid with tuning, its results in a folder of the test's own."""
    return complete({**settings, "results": str(tmp_path / "results"), "tuning": TUNING})


def finished(config: GridConfig, folder: Path, scores: list[float | None], cell: Cell = CELL) -> list[Path]:
    """Files of trials with these scores."""
    files = []
    for number, (point, score) in enumerate(zip(points(config, cell.loss, cell.head), scores, strict=True)):
        files.append(folder / f"trial{number}.json")
        failed = {} if score is not None else {"failed": "the loss is NaN at step 3"}
        files[-1].write_text(json.dumps({"point": asdict(point), "score": score, "seconds": 1.0, **failed}))
    return files


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_every_loss_is_tried_at_the_same_rates_and_widths(config: GridConfig, head: str) -> None:
    of_losses = [points(config, name, head) for name, loss in available().items() if head in loss.heads]
    shared = [[(each.learning_rate, each.sigma) for each in of_loss] for of_loss in of_losses]
    assert all(each == shared[0] for each in shared)
    assert shared[0][0] == (1.0, 1.0) and len(set(shared[0])) == 9
    expected = qmc.Halton(4, seed=7).random(8)
    rates, widths = np.array(shared[0][1:]).T
    np.testing.assert_allclose(np.log10(rates), 2 * expected[:, 0] - 1, atol=1e-3)
    np.testing.assert_allclose(widths, 0.5 * 2.5 ** expected[:, 1], rtol=1e-3)


def test_a_loss_is_tried_over_the_whole_range_of_what_it_declares(config: GridConfig) -> None:
    many = config.changed(tuning={**TUNING, "trials": 200})
    for name, loss in available().items():
        first, *others = points(many, name, loss.heads[0])
        assert first == Point()
        for parameter, lowest, highest, log in loss.tunable:
            values = np.array([each.parameters[parameter] for each in others])
            places = (
                np.log(values / lowest) / np.log(highest / lowest)
                if log
                else (values - lowest) / (highest - lowest)
            )
            assert places.min() >= -1e-3 and places.max() <= 1 + 1e-3
            # As evenly as quasi-random points: no tenth of the range is empty, none has a fifth of them.
            assert (
                np.histogram(places, 10, (0, 1))[0].min() > 10
                and np.histogram(places, 10, (0, 1))[0].max() < 40
            )


def test_the_default_of_what_is_tuned_lies_in_its_range() -> None:
    from rspose.losses import parameters

    for name, loss in available().items():
        for parameter, lowest, highest, _ in loss.tunable:
            assert lowest <= parameters(name)[parameter] <= highest


def test_a_parameter_that_the_config_sets_stays(settings: dict[str, Any]) -> None:
    literal = {"literal": {"loss": "rspose", "parameters": {"label_threshold": 0.011}}}
    config = complete({**settings, "losses": ["literal"], "loss_settings": literal, "tuning": TUNING})
    assert {name for each in points(config, "literal", "heatmap")[1:] for name in each.parameters} == {
        "delta"
    }


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_trial_changes_rate_width_parameters_length_images_and_seed(config: GridConfig, head: str) -> None:
    cell = CELL._replace(head=head)
    point = points(config, "rspose", head)[4]
    changed, own = tried(config, cell, 4)
    before, after = compose(config, cell, Path(), None), compose(changed, own, Path(), None)
    rate = before["optim_wrapper"]["optimizer"]["lr"]
    assert after["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(rate * point.learning_rate)
    assert after["codec"]["sigma"] == pytest.approx(before["codec"]["sigma"] * point.sigma)
    assert after["model"]["head"]["loss"] == {**before["model"]["head"]["loss"], **point.parameters}
    assert (own.seed, after["train_cfg"]["max_epochs"]) == (7, 1)
    assert after["train_dataloader"]["dataset"]["held_out"] == {"share": 0.25, "seed": 1}
    assert training_fingerprint(changed, own) != training_fingerprint(config, cell._replace(seed=7))


def test_another_loss_of_the_grid_is_not_changed(config: GridConfig) -> None:
    other = CELL._replace(loss="mse")
    changed, _ = tried(config, CELL, 4)
    assert changed.loss_of("mse", "heatmap") == config.loss_of("mse", "heatmap")
    changed, _ = tried(config, other, 4)
    assert changed.loss_of("rspose", "simcc") == config.loss_of("rspose", "simcc")


def test_the_best_trial_is_how_the_cell_is_trained(config: GridConfig, tmp_path: Path) -> None:
    scores: list[float | None] = [0.3, 0.2, None, 0.25, 0.1, 0.0, 0.61, 0.6, 0.3]
    choice = config.results / "tuning/coco/tiny/heatmap/rspose/choice.json"
    write_choice(config, CELL, finished(config, tmp_path, scores), choice)
    found = read_choice(config, CELL)
    assert found is not None and found["chosen"] == 6 and [each["score"] for each in found["tried"]] == scores
    best, trained = points(config, "rspose", "heatmap")[6], tuned(config, CELL)
    factor = trained.loss_of("rspose", "heatmap").learning_rate_factor
    assert factor == pytest.approx(best.learning_rate)
    assert trained.model_settings["tiny"].sigma_of("heatmap", "coco") == pytest.approx(1.5 * best.sigma)
    assert trained.training_of(CELL) == config.training_of(CELL)
    assert training_fingerprint(trained, CELL) != training_fingerprint(config, CELL)


def test_a_choice_that_was_made_before_is_taken_and_others_are_made(
    config: GridConfig, tmp_path: Path
) -> None:
    scores = [0.1, None, *[0.2] * 4, 0.6, 0.3, 0.1]
    write_choice(config, CELL, finished(config, tmp_path, scores), folder(config, CELL) / "choice.json")
    file = tmp_path / "choices.json"
    assert keep_choices(config, file) == 1
    again = config.changed(tuning={**TUNING, "choices": str(file)}, results=str(tmp_path / "again"))
    assert kept(again, CELL) == json.loads((folder(config, CELL) / "choice.json").read_text())
    assert keep_choices(again, tmp_path / "again.json") == 1, "a loss that did not run keeps its choice"
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()
    write_choice(again, CELL, [], folder(again, CELL) / "choice.json")
    assert tuned(again, CELL).loss_settings == tuned(config, CELL).loss_settings
    assert kept(again, CELL._replace(loss="mse")) is None
    ours = again.laid_over({"loss_settings": {"rspose": {"parameters": {"delta": 2.0}}}})
    parameters = tuned(again, CELL).loss_of("rspose", "heatmap").parameters
    assert parameters["delta"] != 2.0, "or the choice says nothing"
    assert tuned(ours, CELL).loss_of("rspose", "heatmap").parameters == {**parameters, "delta": 2.0}


def test_the_choice_of_one_dataset_serves_the_others(config: GridConfig, tmp_path: Path) -> None:
    config = config.changed(
        datasets=["mpii", "coco"], data={"coco": {"root": "coco"}, "mpii": {"root": "mpii"}}
    )
    config = config.laid_over({"model_settings": {"tiny": {"input_size": {"mpii": [64, 64]}}}})
    config = config.changed(tuning={**TUNING, "dataset": "coco"})
    other = CELL._replace(dataset="mpii")
    scores = [0.1, None, *[0.2] * 4, 0.6, 0.3, 0.1]
    files = [*finished(config, tmp_path, scores), folder(config, CELL) / "choice.json"]
    write_choice(config, CELL, files[:-1], files[-1])
    assert read_choice(config, other) == read_choice(config, CELL)
    assert tuned(config, other).loss_settings == tuned(config, CELL).loss_settings
    assert keep_choices(config, tmp_path / "choices.json") == 1
    again = config.changed(tuning={**TUNING, "dataset": "coco", "choices": str(tmp_path / "choices.json")})
    assert kept(again, other) == kept(again, CELL) == json.loads(files[-1].read_text())
    chosen = read_choice(config, other)
    assert chosen and chosen["dataset"] == "coco"
    alone = read_choice(config.changed(tuning=TUNING), CELL)
    assert alone == {**chosen, "dataset": None}, "the trials are the same, what they serve is not"
    part = config.changed(datasets=["mpii"])
    assert part.read_datasets == ["mpii", "coco"]
    with pytest.raises(ConfigError, match=r"'tuning\.dataset': no entry for dataset 'coco'; add data\.coco"):
        part.changed(data={"mpii": {"root": "mpii"}})


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (None, {}, "'tuning.choices': expected a file; found none at"),
        ("[]", {}, "'tuning.choices': .*: expected what rspose choices writes"),
        ("{", {}, "'tuning.choices': .*: expected what rspose choices writes"),
        ('{"coco/tiny/heatmap/rspose": 3}', {}, "heatmap/rspose: expected a choice and its trials, as"),
        ('{"coco/tiny/heatmap/rspose": {"tried": [], "chosen": 0}}', {}, "expected a choice and its trials"),
        ("own", {"length": 0.25}, "'tuning.length': .* was made with 0.5; found 0.25: take that, or"),
    ],
)
def test_choices_that_do_not_fit_are_refused_in_one_line(
    config: GridConfig, tmp_path: Path, content: str | None, changes: dict[str, Any], message: str
) -> None:
    config = config.changed(tuning={**TUNING, "length": 0.5})
    file = tmp_path / "choices.json"
    if content == "own":
        write_choice(
            config, CELL, finished(config, tmp_path, [0.1] * 9), folder(config, CELL) / "choice.json"
        )
        keep_choices(config, file)
    elif content:
        file.write_text(content)
    other = config.changed(tuning={**TUNING, "length": 0.5, "choices": str(file), **changes})
    with pytest.raises(ConfigError, match=message) as raised:
        kept(other, CELL)
    assert "\n" not in str(raised.value)


def test_of_equal_trials_the_recipe_is_kept(config: GridConfig, tmp_path: Path) -> None:
    assert choose(config, CELL, finished(config, tmp_path, [0.5] * 9))["chosen"] == 0


def test_a_loss_that_fails_everywhere_is_an_error(config: GridConfig, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="rspose loss: all 9 trials failed; the first: the loss is NaN at step 3"
    ):
        choose(config, CELL, finished(config, tmp_path, [None] * 9))


def test_a_best_trial_at_an_end_of_a_range_is_said(config: GridConfig, tmp_path: Path) -> None:
    files = finished(config, tmp_path, [0.1] * 9)
    trial = json.loads(files[2].read_text())
    trial.update(score=0.9, point={"learning_rate": 9.9, "sigma": 0.8, "parameters": {"delta": 0.1001}})
    files[2].write_text(json.dumps(trial))
    assert choose(config, CELL, files)["at_edge"] == ["learning_rate", "parameters.delta"]


def test_without_tuning_a_cell_is_trained_by_the_recipe(settings: dict[str, Any]) -> None:
    config = complete(settings)
    assert tuned(config, CELL) is config and read_choice(config, CELL) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 1}, "config key 'tuning.trials': expected greater than or equal to 2; found 1"),
        (
            {"sigma": [1.25, 0.5]},
            "config key 'tuning': sigma: expected the smaller factor first; found [1.25, 0.5]",
        ),
        (
            {"held_out": {"share": 1.0, "seed": 0}},
            "config key 'tuning.held_out.share': expected less than 1; found 1.0",
        ),
    ],
)
def test_settings_that_cannot_be_are_named(
    settings: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        complete({**settings, "tuning": {**TUNING, **change}})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("tunable", "message"),
    [
        ((Tunable("no", 1, 2),), "the loss has no parameter 'no'"),
        (
            (Tunable("a", 2, 1),),
            "a: expected lowest < highest, and on a logarithmic scale above 0, found 2 and 1",
        ),
        (
            (Tunable("a", 0, 1),),
            "a: expected lowest < highest, and on a logarithmic scale above 0, found 0 and 1",
        ),
        ((Tunable("a", 1, 2),) * 3, "expected at most 2, found 3"),
    ],
)
def test_a_loss_declares_what_it_has(tunable: tuple[Tunable, ...], message: str) -> None:
    class Broken(HeatmapLoss):
        name, title, reference = "broken_tunable", "Broken", "none"

        def __init__(self, a: float = 1.0) -> None:
            super().__init__()

    Broken.tunable = tunable
    with pytest.raises(TypeError) as error:
        register(Broken)
    assert str(error.value) == f"loss class Broken: class variable 'tunable': {message}"


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_what_is_held_out_are_whole_images(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=0)
    persons = read_annotations(dataset, tmp_path, "val")
    chosen = held_out_persons(persons, 0.3, seed=4)
    place = {image: at for at, image in enumerate(persons.known_images.tolist())}
    names = np.array([persons.image_names[place[image]] for image in persons.image_id.tolist()])
    assert not set(names[chosen]) & set(names[~chosen])
    assert len(set(names[chosen])) == round(0.3 * len(set(names)))
    assert (chosen == held_out_persons(persons, 0.3, seed=4)).all()
    assert (chosen != held_out_persons(persons, 0.3, seed=5)).any()


def test_a_trial_is_scored_as_the_official_evaluator_scores_annotated_boxes(tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, "coco", seed=2).ground_truth_boxes()
    persons = read_annotations("coco", tmp_path, "val")
    chosen = held_out_persons(persons, 0.4, seed=0)
    held_out = persons.take(chosen)
    wanted = predictions.take(np.flatnonzero(np.isin(predictions.annotation_id, held_out.annotation_id)))
    truth = COCO(str(persons.path))
    results = [
        {
            "image_id": int(image),
            "category_id": 1,
            "keypoints": np.column_stack([xy, confidence]).reshape(-1).tolist(),
            "score": float(score),
        }
        for image, xy, confidence, score in zip(
            wanted.image_id, wanted.keypoints, wanted.confidence, instance_scores(wanted), strict=True
        )
    ]
    evaluator = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluator.params.imgIds = np.unique(held_out.image_id).tolist()
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    assert 0.05 < evaluator.stats[0] < 0.95
    assert precision_on_boxes("coco", wanted, held_out) == pytest.approx(evaluator.stats[0], abs=1e-9)


def test_choices_that_are_there_stay_where_nothing_was_chosen(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "choices.json"
    file.write_text("kept")
    with pytest.raises(ConfigError, match="expected tuning, found none"):
        keep_choices(complete(settings), file)
    settings["tuning"] = {"trials": 2}
    assert keep_choices(complete(settings), file) == 0
    assert file.read_text() == "kept"
