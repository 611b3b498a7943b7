"""A cell as an mmpose config: it builds, and within a (dataset, model, head, seed) only the loss differs."""

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from builders.grid import SETTINGS, put
from builders.training import Settings, batch_of
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from rspose.datasets import DATASETS
from rspose.grid.cell import Cell
from rspose.grid.config import Source, complete
from rspose.training.compose import compose
from rspose.training.mmpose_configs import mmpose_config

# isort: split
from mmpose.registry import DATASETS as MMPOSE_DATASETS
from mmpose.registry import MODELS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

LOSSES = ["mse", "kl", "awing", "fowkal", "dm", "rspose"]


def composed(settings: Settings, cell: Cell, folder: Path, initial_weights: Path | None = None) -> Any:
    return compose(complete(settings), cell, folder, initial_weights)


class Witness(Hook):
    """Keeps the weights that a training starts from and everything that it is shown."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.seen: defaultdict[tuple[int, str], list[Any]] = defaultdict(list)

    def before_train(self, runner: Any) -> None:
        self.weights = {key: value.clone() for key, value in runner.model.state_dict().items()}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        for image, sample in zip(data_batch["inputs"], data_batch["data_samples"], strict=True):
            self.seen[runner.epoch, "images"].append(image.numpy().copy())
            self.seen[runner.epoch, "keypoints"].append(sample.gt_instances.transformed_keypoints)
            self.seen[runner.epoch, "ids"].append(sample.metainfo["id"])

    def shown(self, epoch: int, key: str) -> np.ndarray:
        return np.array(self.seen[epoch, key])


def witnessed(settings: Settings, cell: Cell, folder: Path, initial_weights: Path | None = None) -> Witness:
    witness = Witness()
    runner = Runner.from_cfg(composed(settings, cell, folder, initial_weights))
    runner.register_hook(witness)
    runner.train()
    if runner.train_dataloader.num_workers:
        # Left to the garbage collector, the loading processes take ten seconds to end.
        runner.train_dataloader._iterator._shutdown_workers()
    return witness


def assert_shown_the_same(one: Witness, other: Witness) -> None:
    assert one.seen.keys() == other.seen.keys()
    for epoch, key in one.seen:
        np.testing.assert_array_equal(one.shown(epoch, key), other.shown(epoch, key))


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_every_dataset_and_head_composes_and_every_loss_takes_a_step(
    trainable: Settings, tmp_path: Path, dataset: str, head: str
) -> None:
    trainable.update(datasets=[dataset], losses=LOSSES)
    configs = [composed(trainable, Cell(dataset, "tiny", head, loss, 0), tmp_path) for loss in LOSSES]
    batch = batch_of(configs[0], 4)
    width, height = trainable["model_settings"]["tiny"]["input_size"][dataset]
    assert batch["inputs"][0].shape == (3, height, width)
    for config in configs:
        model = MODELS.build(config["model"])
        model.init_weights()
        terms = model(**model.data_preprocessor(batch, training=True), mode="loss")
        total = sum(value for key, value in terms.items() if key.startswith("loss_"))
        assert torch.isfinite(total) and total > 0
        total.backward()
        # The pyramid also has coarser levels, which nothing reads.
        trained = [*model.backbone.parameters(), *model.head.parameters()]
        gradients = [parameter.grad for parameter in trained if parameter.requires_grad]
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)

        assert model.head.out_channels == len(DATASETS[dataset].keypoints)
        np.testing.assert_allclose(model.head.sigmas, DATASETS[dataset].keypoints.sigmas, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_every_loss_starts_from_the_same_weights_and_is_shown_the_same(
    trainable: Settings, tmp_path: Path, head: str
) -> None:
    # FoWKAL has learned parameters, which must not shift anything else.
    trainable.update(losses=["fowkal", "mse", "rspose"])
    first, *others = (
        witnessed(trainable, Cell("coco", "tiny", head, loss, 5), tmp_path / loss)
        for loss in trainable["losses"]
    )
    shared = {key for key in first.weights if ".loss_module." not in key}
    assert len(shared) > 100
    for other in others:
        assert shared == {key for key in other.weights if ".loss_module." not in key}
        assert all(torch.equal(first.weights[key], other.weights[key]) for key in shared)
        assert_shown_the_same(first, other)


CELL = Cell("mpii", "tiny", "heatmap", "mse", 0)


@pytest.fixture(scope="module")
def witness(tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Witness:
    """Of the training of a cell."""
    settings = {**SETTINGS, "data": {"mpii": {"root": str(tiny_datasets / "mpii")}}, "datasets": ["mpii"]}
    return witnessed(settings, CELL, tmp_path_factory.mktemp("witness"))


@pytest.mark.slow
def test_another_epoch_has_another_order_and_augmentation(witness: Witness) -> None:
    first, second = (witness.shown(epoch, "ids") for epoch in range(2))
    assert sorted(first) == sorted(second)
    assert list(first) != list(second)
    one, other = (witness.shown(i, "keypoints")[np.argsort(ids)] for i, ids in enumerate((first, second)))
    moved = np.abs(one - other).max(axis=(1, 2, 3)) > 0.5
    assert moved.mean() > 0.8


@pytest.mark.slow
def test_another_seed_has_other_weights_order_and_augmentation(
    witness: Witness, trainable: Settings, tmp_path: Path
) -> None:
    other = witnessed(trainable, CELL._replace(seed=1), tmp_path)
    assert not all(torch.equal(witness.weights[key], other.weights[key]) for key in witness.weights)
    assert list(witness.shown(0, "ids")) != list(other.shown(0, "ids"))


@pytest.mark.slow
@pytest.mark.parametrize("source", get_args(Source))
def test_a_seed_changes_the_sources_that_it_sets_and_no_other(
    trainable: Settings, tmp_path: Path, source: Source
) -> None:
    trainable["training"].update(seeds_vary=[source], epochs=1)
    first, again, other = (
        witnessed(trainable, CELL._replace(seed=seed), tmp_path / name)
        for name, seed in {"first": 3, "again": 3, "other": 4}.items()
    )
    assert_shown_the_same(first, again)

    def differs(key: str, one: Witness = first) -> bool:
        return not np.array_equal(one.shown(0, key), other.shown(0, key))

    equal_weights = all(torch.equal(first.weights[key], other.weights[key]) for key in first.weights)
    assert equal_weights is (source != "initial_weights")
    assert all(torch.equal(first.weights[key], again.weights[key]) for key in first.weights)
    persons = [sorted(each.shown(0, "ids")) for each in (first, other)]
    assert (persons[0] != persons[1]) is (source == "training_sample")
    if source != "training_sample":
        assert differs("ids") is (source == "order")
        assert differs("images") is (source in ("order", "augmentation"))
    else:  # as many, drawn with replacement
        assert len(persons[0]) == len(persons[1]) and len(set(persons[0])) < len(persons[0])


@pytest.mark.slow
def test_what_is_held_is_that_of_seed_0(witness: Witness, trainable: Settings, tmp_path: Path) -> None:
    put(trainable, "training/seeds_vary", ["initial_weights"])
    other = witnessed(trainable, CELL._replace(seed=4), tmp_path)
    assert_shown_the_same(witness, other)
    assert not all(torch.equal(witness.weights[key], other.weights[key]) for key in witness.weights)


def test_a_sample_is_drawn_of_what_is_not_held_out(trainable: Settings, tmp_path: Path) -> None:
    put(trainable, "training/held_out", {"share": 0.4, "seed": 0})
    put(trainable, "training/seeds_vary", ["training_sample"])
    made = composed(trainable, CELL._replace(seed=4), tmp_path)
    trained, scored = (
        {int(each.get_data_info(index)["id"]) for index in range(len(each))}
        for each in (
            MMPOSE_DATASETS.build(made[f"{use}_dataloader"]["dataset"]) for use in ("train", "held_out")
        )
    )
    assert trained and scored and not trained & scored


@pytest.mark.slow
def test_loading_in_other_processes_shows_the_same(
    witness: Witness, trainable: Settings, tmp_path: Path
) -> None:
    put(trainable, "training/workers", 2)
    assert_shown_the_same(witness, witnessed(trainable, CELL, tmp_path))


@pytest.mark.slow
def test_initial_weights_are_what_every_cell_starts_from(
    witness: Witness, trainable: Settings, tmp_path: Path
) -> None:
    usual = witness.weights
    given = {key: value + 1 for key, value in usual.items() if key.startswith(("backbone.", "neck."))}
    torch.save({"state_dict": given}, tmp_path / "given.pth")
    started = witnessed(trainable, CELL, tmp_path / "work", tmp_path / "given.pth").weights
    for key, value in started.items():
        assert torch.equal(value, given.get(key, usual[key]))


@pytest.mark.parametrize(("precision", "wrapper"), [("float32", None), ("bfloat16", "Bfloat16OptimWrapper")])
def test_a_recipe_in_half_precision_trains_in_the_precision_of_the_config(
    trainable: Settings, tmp_path: Path, precision: str, wrapper: str | None
) -> None:
    amp = {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}
    put(trainable, "model_settings/tiny/overrides/optim_wrapper", amp)
    put(trainable, "training/precision", precision)
    made = composed(trainable, CELL, tmp_path)["optim_wrapper"]
    assert (made.get("type"), "loss_scale" in made) == (wrapper, False)


@pytest.mark.parametrize("devices", [1, 2])
def test_each_device_takes_its_part_of_the_batch_and_mmengine_scales_the_rate_by_the_whole(
    trainable: Settings, tmp_path: Path, devices: int
) -> None:
    put(trainable, "training/devices", devices)
    made = composed(trainable, CELL, tmp_path)
    assert made["train_dataloader"]["batch_size"] * devices == 4
    assert "auto_scale_lr" not in made
    assert (made.get("launcher") == "pytorch") is (devices > 1)

    put(trainable, "training/learning_rate", {"value": 0.008, "base_batch_size": 16})
    made = composed(trainable, CELL, tmp_path)
    optimizer = build_optim_wrapper(MODELS.build(made["model"]), made["optim_wrapper"])
    runner = Runner.__new__(Runner)  # what its scale_lr looks at
    runner._train_dataloader, runner._world_size = made["train_dataloader"], devices
    runner.param_schedulers, runner.logger = None, logging.getLogger("test")
    runner.scale_lr(optimizer, made["auto_scale_lr"])
    assert {group["lr"] for group in optimizer.optimizer.param_groups} == {0.002}


def test_the_learning_rate_is_that_of_head_and_loss(trainable: Settings, tmp_path: Path) -> None:
    put(trainable, "training/head_learning_rate", {"simcc": 0.004})
    put(trainable, "loss_settings/rspose", {"learning_rate_factor": 0.5})

    def rate(head: str, loss: str) -> float:
        config = composed(trainable, Cell("coco", "tiny", head, loss, 0), tmp_path)
        return config["optim_wrapper"]["optimizer"]["lr"]

    assert rate("heatmap", "mse") == 0.001
    assert rate("heatmap", "rspose") == 0.0005
    assert rate("simcc", "mse") == 0.004
    assert rate("simcc", "rspose") == 0.002


def test_nothing_of_the_config_leaks_into_another_cell(trainable: Settings, tmp_path: Path) -> None:
    completed = complete(trainable)
    cells = [CELL._replace(dataset=d, head=h) for d in ("coco", "mpii") for h in ("heatmap", "simcc")]
    alone = [compose(complete(trainable), cell, tmp_path, None).to_dict() for cell in cells]
    assert [compose(completed, cell, tmp_path, None).to_dict() for cell in cells] == alone
    assert completed == complete(trainable)


def test_what_the_dataset_reads_is_what_mmposes_own_config_reads(trainable: Settings, tmp_path: Path) -> None:
    for dataset, size in {"coco": "256x192", "crowdpose": "256x192", "mpii": "256x256"}.items():
        trainable["datasets"] = [dataset]
        recipe = f"{dataset}/td-hm_res50_8xb64-210e_{dataset}-{size}.py"
        own = mmpose_config(f"body_2d_keypoint/topdown_heatmap/{recipe}")
        config = composed(trainable, Cell(dataset, "tiny", "simcc", "mse", 0), tmp_path)
        for split, of_mmpose in (("train", "train"), ("predict", "val")):
            ours = config[f"{split}_dataloader"]["dataset"]
            theirs = own[f"{of_mmpose}_dataloader"]["dataset"]
            assert issubclass(MMPOSE_DATASETS.get(ours["type"]), MMPOSE_DATASETS.get(theirs["type"]))
            assert Path(ours["data_prefix"]["img"]) == Path(theirs["data_prefix"]["img"])
            for key in ("ann_file", "data_mode"):
                assert ours[key] == theirs[key]


@pytest.mark.parametrize("dataset", ["coco", "mpii"])
def test_a_loaded_dataset_still_names_its_files(dataset: str, trainable: Settings, tmp_path: Path) -> None:
    config = composed(trainable, Cell(dataset, "tiny", "simcc", "mse", 0), tmp_path)
    settings = config["predict_dataloader"]["dataset"]
    if DATASETS[dataset].detections:
        settings["bbox_file"] = f"{trainable['data'][dataset]['root']}/{DATASETS[dataset].detections}"
    ours = MMPOSE_DATASETS.build(settings)
    assert len(ours) > 0
    assert Path(ours.ann_file).is_file() and (ours.bbox_file is None or Path(ours.bbox_file).is_file())


def test_an_mmpose_config_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"mmpose has no config 'nowhere\.py': expected a path below"):
        mmpose_config("nowhere.py")
