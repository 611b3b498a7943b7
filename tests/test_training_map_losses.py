"""Losses in mmpose's registry: what is derived for them, and training with the documented configs."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.docs import files
from builders.processes import python
from builders.targets import SIZE, gaussian_labels, make_target, on_maps, random_prediction

from rspose.datasets import DATASETS
from rspose.losses import as_tuple, available, build
from rspose.training.import_standins import deferring
from rspose.training.map_losses import label_centres, map_scale

# isort: split
from mmpose.registry import KEYPOINT_CODECS, MODELS

HEADS = ["heatmap", "simcc"]
CONFIGS = {name: text for name, text in files("mmpose.md").items() if name.startswith("rspose_")}

# Trains a few steps as mmpose's tools/train.py does, on a small copy of the model and data of each config.
TRAIN = """
import sys
import rspose.training, mmpose.models
print("imported", *{"matplotlib.pyplot", "scipy.stats"} & set(sys.modules), flush=True)
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint

data, *configs = sys.argv[1:]
for path in configs:
    print("trained:", path)
    config = Config.fromfile(path)
    if config.model.backbone.type == "ResNet":
        config.model.backbone.update(depth=18, init_cfg=None)
        config.model.head.in_channels = 512
    config.merge_from_dict({
        "train_dataloader.batch_size": 2, "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False, "train_dataloader.dataset.data_root": data,
        "train_dataloader.dataset.indices": 6, "train_cfg.max_epochs": 1, "work_dir": path + ".work",
        "val_dataloader": None, "val_evaluator": None, "val_cfg": None,
        "test_dataloader": None, "test_evaluator": None, "test_cfg": None,
        "default_hooks.logger.interval": 1, "default_hooks.checkpoint.save_best": None,
        "randomness": {"seed": 0}, "visualizer.vis_backends": [],
    })
    config.optim_wrapper.optimizer.lr = 1e-3
    runner = Runner.from_cfg(config)
    runner.train()
    load_checkpoint(runner.model, path + ".work/epoch_1.pth", strict=True)
assert not [name for name in sys.modules if name.startswith(("rspose.grid.config", "snakemake"))]
"""


@pytest.mark.slow
def test_mmpose_is_imported_without_a_word_and_trains_the_documented_configs_without_the_workflow(
    tiny_datasets: Path, tmp_path: Path
) -> None:
    for name, text in CONFIGS.items():
        (tmp_path / name).write_text(text)
    said = python("-c", TRAIN, tiny_datasets / "coco", *(tmp_path / name for name in CONFIGS))
    assert said.startswith("imported\n")  # nor what only takes time
    for name, log in zip(CONFIGS, said.split("trained:")[1:], strict=True):
        losses = [float(value) for value in re.findall(r"Epoch\(train\) .* loss: ([\d.]+)", log)]
        assert len(losses) == 3 and all(0 < value < 10 for value in losses), log
        assert (tmp_path / f"{name}.work" / "epoch_1.pth").is_file()


def test_the_page_has_a_plain_config_for_either_head_and_an_exact_one_to_try() -> None:
    expected = {"rspose_heatmap.py", "rspose_simcc.py", "rspose_exact.py", "rspose_small.py"}
    assert set(CONFIGS) == expected


@pytest.mark.parametrize("name", sorted(available()))
@pytest.mark.parametrize("head", HEADS)
def test_every_loss_is_in_the_registry_and_has_the_value_it_has_in_pytorch(name: str, head: str) -> None:
    target = make_target(head)
    target.weights[1, 2] = 0
    known = replace(target, scale=torch.full((4,), map_scale(target.heatmaps)))
    registered = f"Benchmark{available()[name].__name__}"
    loss = MODELS.build(dict(type=registered, num_keypoints=5, sigmas=[0.08] * 5, loss_weight=0.5))
    prediction = random_prediction(target)
    found = loss(prediction, target.heatmaps, target.weights)
    expected = sum(build(name, {}, 5)(prediction, known).values())
    torch.testing.assert_close(found, 0.5 * expected, rtol=1e-4, atol=1e-5)
    found.backward()
    assert all(map_.grad.isfinite().all() for map_ in as_tuple(prediction))


@pytest.mark.parametrize("head", HEADS)
def test_parameters_are_passed_on_and_wrong_ones_are_named(head: str) -> None:
    assert MODELS.build(dict(type="BenchmarkAdaptiveWingLoss", omega=3.0)).loss.omega == 3.0
    with pytest.raises(ValueError, match="mse loss: unknown parameter 'use_target_weight'"):
        MODELS.build(dict(type="BenchmarkMSELoss", use_target_weight=True))
    target = make_target(head)
    with pytest.raises(ValueError, match=r"BenchmarkKALLoss: num_keypoints: expected 5, .* found 17"):
        MODELS.build(dict(type="BenchmarkKALLoss"))(random_prediction(target), target.heatmaps)


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_the_sigmas_of_the_datasets_are_known_by_their_number_of_keypoints(dataset: str) -> None:
    sigmas = DATASETS[dataset].keypoints.sigmas
    loss = MODELS.build(dict(type="BenchmarkRSPose", num_keypoints=len(sigmas)))
    assert loss.sigmas.tolist() == pytest.approx(sigmas)


@pytest.mark.parametrize("head", HEADS)
def test_the_centres_of_labels_are_exact_below_a_pixel(head: str) -> None:
    width, height = SIZE[head]
    generator = torch.Generator().manual_seed(3)
    centres = 1.5 + torch.rand(6, 7, 2, generator=generator) * (torch.tensor([width, height]) - 4.0)
    found = label_centres(gaussian_labels(head, centres))
    torch.testing.assert_close(found, centres, rtol=0, atol=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_labels_at_the_border_cut_off_or_empty_have_a_finite_centre(head: str) -> None:
    width, height = SIZE[head]
    corner = torch.tensor([[[0.0, 0.0], [width - 1.0, height - 1.0]]])
    torch.testing.assert_close(label_centres(gaussian_labels(head, corner)), corner)
    inside = corner + torch.tensor([[3.0], [-3.0]])
    one = on_maps(lambda label: (label == 1).float(), gaussian_labels(head, inside))
    torch.testing.assert_close(label_centres(one), inside)
    assert (label_centres(on_maps(torch.zeros_like, one)) == 0).all()


def test_labels_of_mmposes_codecs_are_understood() -> None:
    keypoints = np.array([[[40.3, 70.8], [100.0, 31.6]]], dtype=np.float32)
    visible = np.ones((1, 2), dtype=np.float32)
    dark = dict(type="MSRAHeatmap", input_size=(192, 256), heatmap_size=(48, 64), sigma=2, unbiased=True)
    heatmaps = KEYPOINT_CODECS.build(dark).encode(keypoints, visible)["heatmaps"]
    found = label_centres(torch.from_numpy(heatmaps)[None])
    np.testing.assert_allclose(found, keypoints / 4, atol=2e-3)

    simcc = dict(type="SimCCLabel", input_size=(192, 256), sigma=(4.9, 5.66), simcc_split_ratio=2.0)
    loss = MODELS.build(dict(type="BenchmarkMSELoss", num_keypoints=2))
    zeros = torch.zeros(1, 2, 384), torch.zeros(1, 2, 512)
    values = []
    for normalize in (True, False):
        encoded = KEYPOINT_CODECS.build({**simcc, "normalize": normalize}).encode(keypoints, visible)
        labels = tuple(torch.from_numpy(encoded[f"keypoint_{axis}_labels"]) for axis in "xy")
        np.testing.assert_allclose(label_centres(labels), np.round(2 * keypoints), atol=1e-3)
        values.append(loss(zeros, labels))
    torch.testing.assert_close(values[0], values[1])


def test_a_joint_outside_the_map_keeps_its_low_label() -> None:
    """mmpose draws what reaches into the map of a joint outside: a tail, whose highest label is low."""
    label = gaussian_labels("heatmap", torch.tensor([-3.0, 10.0]).expand(1, 17, 2))
    prediction = torch.randn(label.shape, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, 17)
    theirs = MODELS.build({"type": "KeypointMSELoss", "use_target_weight": True})(prediction, label, weights)
    ours = MODELS.build({"type": "BenchmarkMSELoss", "reduction": "mmpose"})
    assert 0 < label.max() < 0.5
    torch.testing.assert_close(ours(prediction, label, weights), theirs)


def test_a_deferred_module_is_imported_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with deferring("colorsys"):
        import colorsys
        from colorsys import rgb_to_hls
    assert "colorsys" not in sys.modules
    assert rgb_to_hls(1.0, 0.0, 0.0) == colorsys.rgb_to_hls(1.0, 0.0, 0.0) == (0.0, 0.5, 1.0)
    assert sys.modules["colorsys"] is not colorsys
