"""Sums of losses: what is added to what, by name and weight."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from rspose.losses.interface import HeatmapLoss, KeypointTarget, Maps, check_numbers
from rspose.losses.registry import build, register

Parts = Mapping[str, float | Mapping[str, Any]]
"""Registered names to weights, or to ``{"weight": w, **parameters}`` (weight 1 where there is none)."""

_DEFAULT: Parts = {"spatial_rs": 1.0, "instance_sort": 0.5}


@register
class Sum(HeatmapLoss):
    """Weighted sum of registered losses; the terms of all are returned under their own names.

    The first part is the base: it says what the raw output means, by its heatmaps, confidences and logits.
    The other parts are given the same raw output, but those that only order confidences (Instance-Sort) the
    logits of the base. The sum serves the heads that all parts serve, and is a reconstruction if one of
    them is. Beware of scales: MSE is small (0.003 in 2D in the demo), and Instance-Sort at weight 0.5
    outweighs it.

    Args:
        parts: registered names to weights of at least 0, ``{"kl": 1, "instance_sort": 0.5}``, or to a weight
            and parameters, ``{"instance_sort": {"weight": 0.5, "delta": 0.1}}``.
        num_keypoints: number of keypoints, for parts that learn something per keypoint.

    Example:
        >>> list(build("sum", {"parts": {"kl": 1, "instance_sort": 0.5}}, num_keypoints=17).weights.items())
        [('kl', 1), ('instance_sort', 0.5)]
    """

    name = "sum"
    title = "Sum"
    reference = "that of its parts"

    def __init__(self, parts: Parts = _DEFAULT, num_keypoints: int | None = None) -> None:
        super().__init__()
        where = f"{self.name} loss: parts"
        if not (isinstance(parts, Mapping) and parts):
            raise ValueError(f"{where}: expected names of losses with their weights, found {parts!r}")
        if self.name in parts:
            raise ValueError(f"{where}: a sum is no part of a sum: name its parts instead")
        self.weights: dict[str, float] = {}
        self.parts = nn.ModuleDict()
        for name, each in parts.items():
            settings = dict(each) if isinstance(each, Mapping) else {"weight": each}
            self.weights[name] = settings.pop("weight", 1.0)
            check_numbers(where, at_least=0, **{name: self.weights[name]})
            self.parts[name] = build(name, settings, num_keypoints)
        base = self._parts[0]
        if not base.localises:
            raise ValueError(f"{where}: expected a loss that localises first, found {base.name!r}")
        self.heads = tuple(head for head in base.heads if all(head in part.heads for part in self._parts))
        if not self.heads:
            raise ValueError(f"{where}: expected losses that serve a head together, found {', '.join(parts)}")
        self.reference = "; ".join(dict.fromkeys(part.reference for part in self._parts))
        self.reconstruction = any(part.reconstruction for part in self._parts)

    @property
    def _parts(self) -> list[HeatmapLoss]:
        return list(self.parts.values())  # type: ignore[arg-type]  # all are losses

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return the terms of all parts, each times the weight of its part."""
        terms: dict[str, Tensor] = {}
        for part in self._parts:
            own = part.terms(prediction if part.localises else self._parts[0].logits(prediction), target)
            if both := ", ".join(sorted(terms.keys() & own.keys())):
                expected = "losses with terms of different names"
                raise self._error("parts", expected, f"{both} twice, in {part.name} too")
            terms |= {name: self.weights[part.name] * value for name, value in own.items()}
        return terms

    def logits(self, prediction: Maps) -> Maps:
        """Return those of the base."""
        return self._parts[0].logits(prediction)

    def to_heatmaps(self, prediction: Maps, sigma: tuple[float, float]) -> Maps:
        """Return those of the base."""
        return self._parts[0].to_heatmaps(prediction, sigma)

    def learned(self) -> dict[str, list[float]]:
        """Return what the parts have learned; of one name, what the earlier part has."""
        return {name: values for part in self._parts[::-1] for name, values in part.learned().items()}
