"""Maps of known error: where their peak is, what each loss reads, and how much error a loss tolerates."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, build
from rspose.losses.instance_sort import peak
from rspose.losses.interface import as_tuple
from rspose.tools.localisation import LARGEST_ERROR, PATHS, along_paths, raw_output, tolerated_error
from rspose.tools.targets import FULL

SIGMA = {head: layout.sigma[0] for head, layout in FULL.items()}
both_heads = pytest.mark.parametrize("head", ["heatmap", "simcc"])


class Recording(HeatmapLoss):
    """Keeps the maps it is shown; its value is the distance of the peak from the keypoint."""

    name, title, reference = "recording", "Recording", "a test"
    seen: ClassVar[list[Maps]] = []

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        self.seen.append(prediction)
        return {"distance": (peak(prediction)[1] - target.keypoints).norm(dim=-1).mean()}


class Mean(HeatmapLoss):
    """The mean of the map, which tells nothing of the location."""

    name, title, reference = "mean", "Mean", "a test"

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        return {"mean": torch.stack([map_.mean() for map_ in as_tuple(prediction)]).mean()}


@both_heads
def test_the_peak_of_each_map_is_as_far_off_as_stated(head: str) -> None:
    for name, path in along_paths(Recording(), head).items():
        for error, value in zip(path["errors"], path["values"], strict=True):
            assert value / SIGMA[head] == pytest.approx(error, abs=0.75 / SIGMA[head]), name
        assert path["errors"][0] == 0 and path["errors"][-1] == LARGEST_ERROR


@both_heads
def test_the_defect_of_each_path_is_gone_at_its_end(head: str) -> None:
    Recording.seen.clear()
    along_paths(Recording(), head, steps=3)
    assert len(Recording.seen) == 3 * len(PATHS)
    ends = [as_tuple(maps)[0] for maps in Recording.seen[2::3]]
    starts = [as_tuple(maps)[0] for maps in Recording.seen[0::3]]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0])
    width = [float((start > 0.5).sum()) for start in starts]
    assert width[1] > 1.6 * width[0], "twice as wide"
    assert float(starts[3].amin()) == pytest.approx(0.3, abs=1e-3)
    # The second peak stands as high as said, where the first one is not.
    beside = (starts[2] - starts[0]).amax()
    assert 0.8 < float(beside) <= 0.9


@both_heads
def test_what_a_loss_tolerates_is_read_off_its_values(head: str) -> None:
    assert along_paths(Recording(), head)["background"]["tolerated_error"] == 0
    assert along_paths(Mean(), head)["background"]["tolerated_error"] == LARGEST_ERROR


def test_the_tolerated_error_is_where_the_loss_is_back_at_its_start() -> None:
    assert tolerated_error([0, 1, 2, 3], [2.0, 1.0, 1.5, 2.5]) == 2.5
    assert tolerated_error([0, 1, 2], [2.0, 2.0, 3.0]) == 0
    assert tolerated_error([0, 1, 2], [2.0, 3.0, 1.0]) == 2, "what it prefers later counts too"


@both_heads
@pytest.mark.parametrize("loss", ["mse", "kl", "dm", "rspose"])
def test_raw_output_is_read_as_the_map_asked_for(loss: str, head: str) -> None:
    module = build(loss, {}, 1)
    x = torch.arange(24, dtype=torch.float32)
    profile = 0.1 + 0.9 * torch.exp(-((x - 10) ** 2) / (2 * (1.5 * SIGMA[head]) ** 2))
    wanted: Maps = (
        (profile[None, None], profile[None, None])
        if head == "simcc"
        else (profile[:, None] * profile)[None, None]
    )
    read = module.to_heatmaps(raw_output(module, wanted, head), (SIGMA[head], SIGMA[head]))
    for found, expected in zip(as_tuple(read), as_tuple(wanted), strict=True):
        found, expected = found / found.amax(), expected / expected.amax()
        assert float((found - expected).square().sum() / expected.square().sum()) < 0.01
