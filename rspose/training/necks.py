"""Necks between a backbone of several resolutions and a head that takes one."""

from typing import Any

from mmpose.models.necks import FPN
from mmpose.registry import MODELS
from torch import Tensor
from torch.nn.functional import interpolate


@MODELS.register_module()
class FinestFPN(FPN):
    """The finest level of mmpose's ``FPN``; the others, which no head reads, are not computed.

    A small ResNet that ends at a stride of 32 has forgotten where things are; the pyramid brings the position
    back at less cost than deconvolutions.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        del self.fpn_convs[1:]

    def forward(self, inputs: Any) -> tuple[Tensor]:
        """The finest level ``[B, C, H, W]``, alone in a tuple."""
        *finer, merged = (
            lateral(features)
            for lateral, features in zip(self.lateral_convs, inputs[self.start_level :], strict=False)
        )
        for lateral in reversed(finer):
            merged = lateral + interpolate(merged, size=lateral.shape[2:], **self.upsample_cfg)
        return (self.fpn_convs[0](merged),)
