"""Backbones of timm: ViTPose's plain vision transformer, and any network that gives feature maps."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from timm.layers import (
    LayerNorm,
    PatchEmbed,
    calculate_drop_path_rates,
    resample_abs_pos_embed,
    trunc_normal_,
)
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from rspose.training.weights import COUNTERS, Loaded, load_whole, read_weights, refuse

ARCHITECTURES = {
    "base": {"embed_dims": 768, "num_layers": 12, "num_heads": 12, "feedforward_channels": 3072},
    "large": {"embed_dims": 1024, "num_layers": 24, "num_heads": 16, "feedforward_channels": 4096},
    "huge": {"embed_dims": 1280, "num_layers": 32, "num_heads": 16, "feedforward_channels": 5120},
}
"""Sizes under the names of mmpose's ViTPose configs."""

# Names of timm's modules in mmpretrain, those of the blocks in timm, and ViTPose's of the last norm.
_RENAMED = (
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"^(layers\..*\.)ffn\.layers\.0\.0\.", r"\1mlp.fc1."),
    (r"^(layers\..*\.)ffn\.layers\.1\.", r"\1mlp.fc2."),
    (r"^(layers\..*\.)ln([12])\.", r"\1norm\2."),
    (r"^blocks\.", "layers."),
    (r"^(last_norm|ln1)\.", "norm."),
)


@MODELS.register_module()
class TimmVisionTransformer(BaseModule):
    """ViTPose's backbone from timm's blocks (Xu et al., NeurIPS 2022, arXiv 2204.12484).

    A plain vision transformer without class token, whose patch embedding pads the image by 2 pixels, with a
    norm after the last block; its tokens are the feature map. The arguments are those that mmpose's ViTPose
    configs give to ``mmpretrain.VisionTransformer``, and the blocks are called ``layers`` as there, which is
    what mmpose's layer-wise decay of the learning rate goes by.

    Args:
        arch: A key of :data:`ARCHITECTURES`, or a mapping as it has.
        img_size: Height and width of the input in pixels, multiples of ``patch_size``.
        patch_size: Side of a patch in pixels.
        patch_cfg: ``padding`` of the patch embedding in pixels.
        drop_path_rate: Share of samples that skip the last block; it grows linearly from 0 at the first.
        init_cfg: ``dict(type="Pretrained", checkpoint=path)``, read by :func:`backbone_weights`, or None.

    Raises:
        ValueError: If the size is unknown or the image no multiple of the patch.
    """

    def __init__(
        self,
        arch: str | dict[str, int],
        img_size: Sequence[int],
        patch_size: int = 16,
        patch_cfg: dict[str, int] | None = None,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(
                f"vision transformer: unknown arch {arch!r}: expected one of {', '.join(ARCHITECTURES)}"
            )
        if any(side % patch_size for side in img_size):
            raise ValueError(
                f"vision transformer: expected an input of whole patches of {patch_size} pixels, "
                f"found {img_size[1]} x {img_size[0]}"
            )
        size = ARCHITECTURES[arch] if isinstance(arch, str) else arch
        channels = size["embed_dims"]
        self.patch_embed = PatchEmbed((img_size[0], img_size[1]), patch_size, 3, channels)
        # Half the padding of a patch at most: the grid of tokens stays what it is without.
        padding = (patch_cfg or {}).get("padding", 0)
        self.patch_embed.proj.padding = (padding, padding)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.patch_embed.num_patches, channels))
        rates: Any = calculate_drop_path_rates(drop_path_rate, size["num_layers"])
        self.layers = nn.ModuleList(
            Block(
                channels,
                size["num_heads"],
                mlp_ratio=size["feedforward_channels"] / channels,
                qkv_bias=qkv_bias,
                drop_path=rate,
            )
            for rate in rates
        )
        self.norm = LayerNorm(channels, eps=1e-6)

    def init_weights(self) -> None:
        """Load the weights that ``init_cfg`` names, or draw new ones."""
        if self.init_cfg:
            path = Path(self.init_cfg["checkpoint"])
            self.loaded_weights = load_whole(self, path, backbone_weights(path, self))
            return
        trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The feature map ``[B, C, H / patch, W / patch]`` of images ``[B, 3, H, W]``, alone in a tuple."""
        tokens = self.patch_embed(images) + self.pos_embed
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        return (tokens.transpose(1, 2).unflatten(2, self.patch_embed.grid_size).contiguous(),)


def backbone_weights(path: Path, network: TimmVisionTransformer) -> dict[str, Tensor]:
    """Weights of a checkpoint, of PyTorch or safetensors, under the names and in the shapes of ``network``.

    Read are the layouts of timm, of MAE (the names of timm, an encoder with or without its decoder), of
    ViTPose's own releases (``backbone.blocks...``, ``last_norm``) and of mmpretrain and mmpose
    (``layers...ln1``, ``ffn``).

    The positions of patches are resized to the grid of the network by bicubic interpolation. ViTPose's own
    releases keep a position of a class token that they do not have, and add it to that of every patch: so
    does this. In all other layouts it belongs to the token and goes with it.

    Raises:
        ValueError: If it holds other things than weights, or positions of another number of patches.
    """
    state = read_weights(path)
    added_to_all = "last_norm.weight" in state
    has_class_token = added_to_all or "cls_token" in state
    weights = {}
    for key, value in state.items():
        for theirs, ours in _RENAMED:
            key = re.sub(theirs, ours, key)
        weights[key] = value
    if "norm.weight" not in weights:  # networks that average their tokens have it behind the average
        weights = {key.replace("fc_norm.", "norm."): value for key, value in weights.items()}
    if "pos_embed" in weights:
        weights["pos_embed"] = _positions(
            path, weights["pos_embed"], network.patch_embed.grid_size, has_class_token, added_to_all
        )
    return weights


def _positions(
    path: Path, positions: Tensor, grid: tuple[int, int], has_class_token: bool, added_to_all: bool
) -> Tensor:
    count = positions.shape[1]
    # A class token need not have a position.
    likely_first = (1, 0) if has_class_token else (0, 1)
    extra = next((extra for extra in likely_first if _grid(count - extra, grid)), None)
    if extra is None:
        raise ValueError(
            f"{path}: expected the positions of a square or 4 : 3 grid of patches, found {count} of them"
        )
    patches = positions[:, extra:]
    if added_to_all:
        patches = patches + positions[:, :extra]
    # Without smoothing, as ViTPose and mmpretrain do it (timm's own loading smooths).
    return resample_abs_pos_embed(
        patches, list(grid), list(_grid(count - extra, grid)), num_prefix_tokens=0, antialias=False
    )


def _grid(count: int, grid: tuple[int, int]) -> tuple[int, int] | tuple[()]:
    # Rows and columns of `count` patches: of the network's grid, or of a square or 4 : 3 one.
    if count == grid[0] * grid[1]:
        return grid
    side = math.isqrt(count)
    if side * side == count:
        return side, side
    unit = math.isqrt(count // 12)
    return (4 * unit, 3 * unit) if 12 * unit * unit == count else ()


def _values(tensor: Tensor) -> tuple[int, bytes]:
    return tensor.numel(), tensor.detach().float().contiguous().numpy().tobytes()


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """Feature maps of any network of timm that has them; what comes after the last of them is not there.

    Args:
        name: Name of the network in timm, ``convnext_tiny`` say.
        out_indices: Which of its feature maps to give, in timm's counting; the last alone by default.
        frozen: Modules that stay as they are loaded, batch norms too, by timm's names: ``conv_stem``,
            ``blocks.0`` say.
        init_cfg: As for :class:`TimmVisionTransformer`, with a checkpoint of timm, or of an EfficientNet-Lite
            under the names of EfficientNet-PyTorch.
        arguments: Further arguments of the network.

    Raises:
        ValueError: If the network has no module of a name in ``frozen``.
    """

    def __init__(
        self,
        name: str,
        out_indices: Sequence[int] = (-1,),
        frozen: Sequence[str] = (),
        init_cfg: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.name = name
        self.arguments = {**arguments, "features_only": True, "out_indices": tuple(out_indices)}
        self.network = timm.create_model(name, **self.arguments)
        self.unused = _cut_unused_stages(self.network)
        modules = dict(self.network.named_modules())
        for each in frozen:
            if each not in modules:
                some = ", ".join(key for key in modules if key and key.count(".") < 2)
                raise ValueError(f"{name}: no module {each!r} to be frozen; expected one of {some}")
        self.frozen = [modules[each] for each in frozen]
        for module in self.frozen:
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the weights that ``init_cfg`` names; without, those that timm drew stay."""
        if not self.init_cfg:
            return
        path = Path(self.init_cfg["checkpoint"])
        weights = read_weights(path)
        if "_conv_stem.weight" in weights:
            whole = timm.create_model(self.name, features_only=True)
            renamed = {
                name: value
                for name, value in _in_timms_names(weights, whole)
                if not name.startswith(self.unused)
            }
            self.loaded_weights = load_whole(self.network, path, renamed)
            return
        known = {_values(tensor) for tensor in weights.values()}
        start: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
        try:
            loaded = timm.create_model(self.name, **start, **self.arguments)
            _cut_unused_stages(loaded)
            state = loaded.state_dict()
        # Shapes, and all that timm's renaming meets in files of other networks.
        except Exception as error:
            found = " ".join(str(error).splitlines()[:2])
            raise ValueError(f"{path}: expected the weights of {self.name}, found others: {found}") from None
        # timm renames tensors and resizes positions, but loads what fits and goes on.
        taken = [name for name, tensor in state.items() if _values(tensor) in known]
        missing = [f"no {name}" for name in state if name not in taken and "pos" not in name]
        missing = [name for name in missing if not name.endswith(COUNTERS)]
        refuse(path, self, [*missing, *self._layers_of_a_deeper_network(weights)], len(state))
        self.network.load_state_dict(state)
        self.loaded_weights = Loaded(path.name, len(taken), ())

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Set the mode of all modules but those that are frozen."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def _layers_of_a_deeper_network(self, weights: dict[str, Tensor]) -> list[str]:
        """What the modules of the network lack, if the file has its names and not those of another layout."""
        network: Any = timm.create_model(self.name, num_classes=0)
        ours = network.state_dict()
        if not {name for name in ours if not name.endswith(COUNTERS)} <= weights.keys():
            return []
        modules = {name.split(".")[0] for name in ours}
        classifier = network.pretrained_cfg.get("classifier") or ()
        return [
            f"{name}, which this network lacks"
            for name in weights
            if name not in ours and name.split(".")[0] in modules and not name.startswith(classifier)
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps ``[B, C, h, w]`` of images ``[B, 3, H, W]``."""
        return tuple(self.network(images))


def _cut_unused_stages(network: nn.Module) -> tuple[str, ...]:
    """Cut the stages after the last feature map, which timm has in an EfficientNet alone; their names."""
    if not isinstance(network, EfficientNetFeatures) or network.feature_hooks is not None:
        return ()
    last, stages = max(network._stage_out_idx), len(network.blocks)
    del network.blocks[last:]
    return tuple(f"blocks.{stage}." for stage in range(last, stages))


# Modules of a block without expansion, and of one with it, in EfficientNet-PyTorch and in timm.
_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def _in_timms_names(weights: dict[str, Tensor], network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights of an EfficientNet-Lite; its blocks are counted through, timm's stage by stage."""
    names = [name for name, _ in network.named_modules() if re.fullmatch(r"blocks\.\d+\.\d+", name)]
    for key, value in weights.items():
        top, *rest = key.split(".")
        if top != "_blocks":
            yield ".".join((_TOP.get(top, top), *rest)), value
            continue
        number, module, *rest = rest
        block = names[int(number)] if int(number) < len(names) else f"blocks.{number}"
        of_block = _EXPANDING if f"_blocks.{number}._expand_conv.weight" in weights else _BLOCK
        yield ".".join((block, of_block.get(module, module), *rest)), value
