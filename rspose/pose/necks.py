"""Necks between a backbone of several resolutions and a head that takes one."""

from typing import Any

from mmpose.models.necks import FPN
from mmpose.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FinestFPN(FPN):
    """mmpose's feature pyramid, of which only the finest level is handed on.

    A small ResNet that ends at a stride of 32 has forgotten where things are; the pyramid brings the position
    back at less cost than deconvolutions.
    """

    def forward(self, inputs: Any) -> tuple[Tensor]:
        """The finest level ``[B, C, H, W]``, alone in a tuple."""
        return (super().forward(inputs)[0],)
