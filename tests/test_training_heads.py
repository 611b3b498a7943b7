"""The heads: the target that a loss gets, and the way from raw output to keypoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders.training import Settings, batch_of
from torch import Tensor

from rspose.datasets import DATASETS
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, on_maps, register
from rspose.losses.spatial_rs import HALF
from rspose.training.compose import compose
from rspose.training.heads import build_loss

# isort: split
from mmpose.registry import KEYPOINT_CODECS, MODELS

both_heads = pytest.mark.parametrize("head", ["heatmap", "simcc"])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]


class Case:
    """A model of the tiny grid, untrained, and instances of a split of its dataset."""

    def __init__(
        self, settings: Settings, dataset: str, head: str, loss: str, split: str = "predict", count: int = 6
    ) -> None:
        settings.update(datasets=[dataset], losses=[loss])
        self.config = compose(complete(settings), Cell(dataset, "tiny", head, loss, 0), Path(), None)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (mmpose draws from the global generator)
        self.model = MODELS.build(self.config["model"])
        self.model.init_weights()
        self.head = self.model.eval().head
        batch = self.model.data_preprocessor(batch_of(self.config, count, f"{split}_dataloader"))
        self.inputs, self.samples = batch["inputs"], batch["data_samples"]
        self.in_input = np.stack([s.gt_instances.transformed_keypoints[0] for s in self.samples])
        self.visible = np.stack([s.gt_instances.keypoints_visible[0] > 0 for s in self.samples])
        width, height = self.config["codec"]["input_size"]
        # Away from the border, where a label is whole and so is the neighbourhood that DARK refines it with.
        self.inside = ((self.in_input >= 16) & (self.in_input <= np.array([width, height]) - 17)).all(-1)

    def labels(self) -> Maps:
        """Gaussian labels of the instances, as mmpose's codec draws them."""
        codec = KEYPOINT_CODECS.build(self.config["codec"])
        visible = self.visible.astype(np.float32)
        encoded = [codec.encode(k[None], v[None]) for k, v in zip(self.in_input, visible, strict=True)]
        if "heatmaps" in encoded[0]:
            return torch.from_numpy(np.stack([each["heatmaps"] for each in encoded]))
        x, y = (np.concatenate([each[f"keypoint_{axis}_labels"] for each in encoded]) for axis in "xy")
        return torch.from_numpy(x), torch.from_numpy(y)


class CapturedTarget(HeatmapLoss):
    """Takes down the target that a head hands to its loss."""

    name = title = reference = "captured"

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        self.target = target
        return {"captured": as_tuple(prediction)[0].sum()}


def captured(settings: Settings, dataset: str, head: str) -> tuple[Case, KeypointTarget]:
    """A case of training instances, and the target that its head hands to the loss."""
    case = Case(settings, dataset, head, "mse", "train", count=12)
    case.head.loss_module = CapturedTarget()
    case.model(case.inputs, case.samples, mode="loss")
    return case, case.head.loss_module.target


def peaks(labels: Maps) -> Tensor:
    """Location of the highest pixel or bin, ``[B, K, 2]``."""
    profiles = labels if isinstance(labels, tuple) else (labels.amax(2), labels.amax(3))
    return torch.stack([each.argmax(-1) for each in profiles], -1)


@both_heads
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_the_target_is_where_the_label_peaks(trainable: Settings, dataset: str, head: str) -> None:
    case, target = captured(trainable, dataset, head)

    whole = (target.weights > 0) & torch.from_numpy(case.inside)
    assert whole.sum() > 20
    distance = (peaks(target.heatmaps) - target.keypoints).abs().amax(-1)
    assert distance[whole].max() <= 0.5 + 1e-4
    assert max(float(label.max()) for label in as_tuple(target.heatmaps)) <= 1
    assert target.weights.shape == whole.shape
    np.testing.assert_array_equal(target.weights > 0, (target.weights > 0) & torch.from_numpy(case.visible))
    np.testing.assert_allclose(target.sigmas, DATASETS[dataset].keypoints.sigmas, rtol=1e-6)


@both_heads
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_the_scale_is_the_root_of_the_area_in_map_units(trainable: Settings, dataset: str, head: str) -> None:
    case, target = captured(trainable, dataset, head)
    for i, sample in enumerate(case.samples):
        # How far apart two keypoints are, in map units and in the image: the augmentation keeps proportions.
        labelled = np.flatnonzero(case.visible[i])
        if len(labelled) < 2:
            continue
        a, b = labelled[0], labelled[-1]
        original = sample.gt_instances.keypoints[0]
        in_image = np.linalg.norm(original[a] - original[b])
        in_map = float(torch.linalg.norm(target.keypoints[i, a] - target.keypoints[i, b]))
        expected = np.sqrt(np.asarray(sample.metainfo["area"]).item()) * in_map / in_image
        assert float(target.scale[i]) == pytest.approx(expected, rel=1e-3)


# What a network would have to say for its heatmap to be the label itself.
PERFECT = {
    "mse": lambda label: label,
    "awing": lambda label: label,
    "kl": lambda label: label.clamp_min(1e-12).log(),
    "rspose": lambda label: HALF + torch.logit(label, eps=1e-6),
}


@both_heads
@pytest.mark.parametrize("loss", PERFECT)
def test_a_perfect_output_decodes_to_the_annotated_keypoints(
    trainable: Settings, loss: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(trainable, "coco", head, loss, count=12)
    output = on_maps(PERFECT[loss], case.labels())
    monkeypatch.setattr(case.head, "forward", lambda feats: output)
    case.model.test_cfg = {**case.model.test_cfg, "flip_test": False}
    predicted = case.model(case.inputs, case.samples, mode="predict")

    whole = case.visible & case.inside
    assert whole.sum() > 20
    for i, sample in enumerate(predicted):
        image_per_input = sample.metainfo["input_scale"][0] / sample.metainfo["input_size"][0]
        error = sample.pred_instances.keypoints[0] - sample.gt_instances.keypoints[0]
        assert (np.linalg.norm(error, axis=-1)[whole[i]] < image_per_input).all()
        # A perfect distribution of KL's is not the surest one: 0.8 in 2D, 0.89 in 1D, less between pixels.
        least = {"heatmap": 0.75, "simcc": 0.85}[head] if loss == "kl" else 0.9
        assert (sample.pred_instances.keypoint_scores[0][whole[i]] > least).all()


@pytest.fixture
def published(trainable: Settings) -> Settings:
    """ViTPose with fewer layers, whose crops and labels are unbiased (UDP), and the smallest RTMPose."""
    trainable["model_settings"]["tiny"] = {
        "base": {
            "heatmap": "body_2d_keypoint/topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py",
            "simcc": "body_2d_keypoint/rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py",
        },
        "pretrained": "none",
        "input_size": {"coco": [192, 256]},
        "sigma": {"heatmap": 2.0, "simcc": [4.9, 5.66]},
        "head_overrides": {
            "heatmap": {"model": {"backbone": {"arch": {"num_layers": 1}}}},
            "simcc": {
                "model": {
                    "backbone": {"deepen_factor": 0.167, "widen_factor": 0.375},
                    "head": {"in_channels": 384},
                }
            },
        },
    }
    trainable["training"]["augmentation"] = "model"
    return trainable


@both_heads
def test_the_same_holds_for_unbiased_labels_and_for_rtmposes_head(
    published: Settings, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_the_target_is_where_the_label_peaks(published, "coco", head)
    if head == "simcc":  # unbiased maps are scaled in x and y by factors that differ by half a percent
        test_the_scale_is_the_root_of_the_area_in_map_units(published, "coco", head)
    for loss in ("kl", "rspose"):
        test_a_perfect_output_decodes_to_the_annotated_keypoints(published, loss, head, monkeypatch)


def mirrored(maps: Maps, dataset: str) -> Maps:
    """Maps of the mirrored image: left is right, and left joints are right ones."""
    swap = list(DATASETS[dataset].keypoints.flip_indices)
    if isinstance(maps, tuple):
        return maps[0][:, swap].flip(-1), maps[1][:, swap]
    return maps[:, swap].flip(-1)


@both_heads
@pytest.mark.parametrize("loss", ["mse", "kl", "rspose"])
@pytest.mark.parametrize("dataset", ["coco", "mpii"])
@torch.no_grad()
def test_the_prediction_of_a_mirrored_crop_is_the_mirrored_prediction(
    trainable: Settings, dataset: str, loss: str, head: str
) -> None:
    case = Case(trainable, dataset, head, loss)
    settings = {"flip_test": True, "shift_heatmap": False}
    straight, turned = (case.model.extract_feat(each) for each in (case.inputs, case.inputs.flip(-1)))
    one = case.head.heatmaps([straight, turned], case.samples, settings)
    other = case.head.heatmaps([turned, straight], case.samples, settings)
    for a, b in zip(as_tuple(mirrored(one, dataset)), as_tuple(other), strict=True):
        torch.testing.assert_close(a, b)
    # Not for the trivial reason that the network says the same everywhere.
    assert not torch.allclose(as_tuple(one)[0], as_tuple(mirrored(one, dataset))[0])

    plain = {"flip_test": False}
    first, second = (case.head.heatmaps(each, case.samples, plain) for each in (straight, turned))
    for averaged, a, b in zip(*map(as_tuple, (one, first, mirrored(second, dataset))), strict=True):
        torch.testing.assert_close(averaged, (a + b) / 2)


@both_heads
def test_confidences_lie_between_0_and_1_whatever_the_network_says(
    trainable: Settings, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(trainable, "coco", head, "mse")
    raw = case.head.forward(case.model.extract_feat(case.inputs))
    for loss in ("mse", "kl", "awing", "fowkal", "dm", "rspose"):
        case.head.loss_module = build_loss(loss, {}, 17)
        output = on_maps(lambda map_: 100 * torch.randn_like(map_), raw)
        monkeypatch.setattr(case.head, "forward", lambda feats, output=output: output)
        for instances in case.head.predict(None, case.samples, {}):
            assert (instances.keypoint_scores >= 0).all() and (instances.keypoint_scores <= 1).all()
            assert np.isfinite(instances.keypoints).all()


@both_heads
def test_heatmaps_come_along_when_asked_for(
    trainable: Settings, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(trainable, "coco", head, "mse")
    labels = case.labels()
    monkeypatch.setattr(case.head, "forward", lambda feats: labels)
    instances, fields = case.head.predict(None, case.samples, {"output_heatmaps": True})
    assert len(instances) == len(fields) == len(case.samples)
    for i, (predicted, field) in enumerate(zip(instances, fields, strict=True)):
        height, width = field.heatmaps.shape[1:]
        per_map = np.array(case.config["codec"]["input_size"]) / np.array([width, height])
        peak = peaks(field.heatmaps[None])[0].numpy() * per_map
        whole = case.visible[i] & case.inside[i]
        assert (np.abs(peak - predicted.keypoints[0])[whole] <= 0.75 * per_map).all()


@pytest.mark.usefixtures("fresh_registry")
def test_building_a_loss_leaves_the_random_state_alone() -> None:
    @register
    class Drawing(CapturedTarget):
        name = "drawing"

        def __init__(self) -> None:
            super().__init__()
            self.drawn = torch.nn.Parameter(torch.rand(5))

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert isinstance(build_loss("drawing", {}, 17), Drawing)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_a_simcc_decoder_with_normalised_labels_is_refused(trainable: Settings) -> None:
    case = Case(trainable, "coco", "simcc", "mse")
    head = case.config["model"]["head"].to_dict()
    head["decoder"] = {**head["decoder"], "normalize": True}
    with pytest.raises(ValueError, match=r"decoder\.normalize must be False"):
        MODELS.build(head)
