"""What training adds to mmengine and mmpose: preprocessing, precision, seeds, memory, import stand-ins."""

import io
import platform
import random
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from builders.processes import python

from rspose.grid import tuning
from rspose.grid.config import complete
from rspose.grid.files import write_json
from rspose.grid.progress import duration
from rspose.training import memory, progress
from rspose.training.hooks import (
    Bfloat16OptimWrapper,
    ChannelsLastHook,
    CropPreprocessor,
    EpochSeedHook,
    PipelineSwitchHook,
)
from rspose.training.necks import FinestFPN
from rspose.training.transforms import SeedSample

# isort: split
from mmengine.dataset import Compose
from mmengine.runner.priority import get_priority

# isort: split
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.models.necks import FPN
from mmpose.structures import PoseDataSample

NORMALISATION = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_crops_are_normalised_as_mmpose_normalises_images(bgr_to_rgb: bool, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    crops = [torch.randint(0, 256, (3, 24, 16), generator=generator, dtype=torch.uint8) for _ in range(4)]
    data = {"inputs": crops, "data_samples": [PoseDataSample() for _ in crops]}
    theirs = PoseDataPreprocessor(bgr_to_rgb=bgr_to_rgb, **NORMALISATION)(deepcopy(data))
    ours = CropPreprocessor(channels_last=channels_last, bgr_to_rgb=bgr_to_rgb, **NORMALISATION)(data)
    torch.testing.assert_close(ours["inputs"], theirs["inputs"])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert ours["inputs"].is_contiguous(memory_format=layout)
    assert len(ours["data_samples"]) == 4


def test_progress_counts_the_trials_and_cells_that_are_left(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 9.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    settings.update(results=str(tmp_path), datasets=["coco", "mpii"], heads=["heatmap"], lengths=[1, 2])
    settings.update(losses=["mse", "kl"], tuning={"trials": 5, "length": 0.5, "held_out": {"share": 0.2}})
    settings["tuning"]["held_out"]["seed"] = 0
    config = complete(settings)
    for number in range(2):
        write_json(tuning.folder(config, config.cells()[0]) / f"trial{number}.json", {})
    write_json(tuning.folder(config, config.cells()[-1]) / "choice.json", {})
    terminal = io.StringIO()
    hook = progress.ProgressHook(config, 0.4, "a trial", 2, terminal)
    runner = SimpleNamespace(iter=0, max_iters=20)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)  # too soon for a line
    runner.iter = 9
    hook.after_train_iter(runner, 9)
    # 3 s a step, 50 steps of the recipe's length; 8 cells (two lengths) are 12 such lengths.
    # Of 20 trials two are done and five not needed: 13, of 0.4 each.
    left = duration(3 * 50 * (12 + 13 * 0.4) / 2)
    cells = f"cells 0/8 trained, 13 trials to go, about {left} of training left"
    assert terminal.getvalue() == f"a trial: step 10/20, 3000 ms a step, 30 s left | {cells}\n"


def test_low_precision_is_for_the_forward_pass_only() -> None:
    model = torch.nn.Linear(4, 4)
    wrapper = Bfloat16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        assert model(torch.ones(2, 4)).dtype == torch.bfloat16
    assert model(torch.ones(2, 4)).dtype == torch.float32
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        loss = model(torch.ones(2, 4)).float().sum()
    wrapper.update_params(loss)
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


def test_weights_are_put_into_the_layout_of_the_images() -> None:
    model = torch.nn.Conv2d(3, 8, 3)
    expected = model.weight.detach().clone()
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight, expected)


def begin_epoch(seed: int, epoch: int, rank: int, *steps: Any) -> None:
    loader = SimpleNamespace(dataset=SimpleNamespace(pipeline=SimpleNamespace(transforms=steps)))
    EpochSeedHook(seed).before_train_epoch(SimpleNamespace(epoch=epoch, rank=rank, train_dataloader=loader))


def drawn_in_an_epoch(seed: int, epoch: int, rank: int) -> tuple[float, ...]:
    begin_epoch(seed, epoch, rank)
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def drawn_for_a_sample(seed: int, epoch: int, sample: int) -> tuple[float, ...]:
    step = SeedSample(seed)
    begin_epoch(seed, epoch, 0, step)
    assert step({"sample_idx": sample, "img": "x"}) == {"sample_idx": sample, "img": "x"}
    return random.random(), float(np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("drawn", [drawn_in_an_epoch, drawn_for_a_sample])
def test_random_numbers_depend_on_seed_and_epoch_and_on_rank_or_sample_only(drawn: Any) -> None:
    reference = drawn(3, 1, 7)
    assert drawn(3, 1, 7) == reference
    for other in (drawn(4, 1, 7), drawn(3, 2, 7), drawn(3, 1, 8)):
        assert all(a != b for a, b in zip(reference, other, strict=True))


class Images(torch.utils.data.Dataset):
    """A dataset whose samples are what its pipeline draws."""

    def __init__(self) -> None:
        self.pipeline = Compose([SeedSample(7), lambda results: ("first", np.random.rand())])  # noqa: NPY002

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.pipeline({"sample_idx": index})


@pytest.mark.parametrize("workers", [0, 1])
def test_the_pipeline_is_changed_for_the_last_epochs_however_data_is_loaded(workers: int) -> None:
    second = [SeedSample(7), lambda results: ("second", np.random.rand())]  # noqa: NPY002

    def epochs(first: int) -> list[list[Any]]:
        loading = {"batch_size": None, "num_workers": workers, "persistent_workers": workers > 0}
        loader = torch.utils.data.DataLoader(Images(), **loading)
        hooks = [EpochSeedHook(7), PipelineSwitchHook(2, second)]
        hooks.sort(key=lambda hook: get_priority(hook.priority))
        seen = []
        for epoch in range(first, 4):
            for hook in hooks:
                hook.before_train_epoch(SimpleNamespace(epoch=epoch, rank=0, train_dataloader=loader))
            seen.append(list(loader))
        if workers:
            loader._iterator._shutdown_workers()
        return seen

    whole = epochs(0)
    assert [[kind for kind, _ in epoch] for epoch in whole] == [["first"] * 4] * 2 + [["second"] * 4] * 2
    numbers = [number for epoch in whole for _, number in epoch]
    assert len(set(numbers)) == len(numbers)  # each epoch and sample draws its own
    assert epochs(1) == whole[1:]
    assert epochs(3) == whole[3:]  # resumed after the change


def test_the_finest_level_of_the_pyramid_is_handed_on() -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": [4, 8, 16], "out_channels": 6, "num_outs": 3}
    ours, theirs = FinestFPN(**arguments), FPN(**arguments)
    unread = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert all(key.startswith(("fpn_convs.1", "fpn_convs.2")) for key in unread.missing_keys)
    levels = [torch.randn(2, 4 * step, 32 // step, 24 // step) for step in (1, 2, 4)]
    (finest,) = ours(levels)
    assert finest.shape == (2, 6, 32, 24)
    torch.testing.assert_close(finest, theirs(levels)[0])


@pytest.mark.skipif("mmcv._ext" in sys.modules, reason="the compiled operators are installed")
def test_what_stands_in_for_a_missing_package_says_so_when_used() -> None:
    from mmcv.ops import DeformConv2d

    with pytest.raises(ImportError, match="DeformConv2d needs mmcv, which is not installed"):
        DeformConv2d(1, 2, 3)


# The module alone: all of mmpose takes its time.
FAULTS = """
import resource, runpy, sys
import numpy as np

if len(sys.argv) > 1:
    runpy.run_path(sys.argv[1])["hold_memory"]()
for step in range(20):
    if step == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [np.ones(2**20, np.float32) for _ in range(8)]
    del maps
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc's allocator")
def test_memory_that_a_step_frees_is_not_fetched_again_for_the_next() -> None:
    kept, returned = int(python("-c", FAULTS, memory.__file__)), int(python("-c", FAULTS))
    # 19 steps of 8 maps of 4 MB: 1,024 pages a map.
    assert kept < 1000 < 19 * 1024 < returned
