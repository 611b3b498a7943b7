"""Time and memory of every loss, and what the ranking operator saves: `rspose bench losses`."""

import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rspose.grid.machine import cpu_name
from rspose.losses.interface import HeatmapLoss, KeypointTarget, Maps, as_tuple
from rspose.losses.rank_sort.operator import ap_loss, rank_sort
from rspose.losses.registry import available, build

BATCH, KEYPOINTS = 64, 17
SIZE = {"heatmap": (48, 64), "simcc": (384, 512)}
"""Width and height of the maps: heatmap pixels, and SimCC bins for an input of 192 x 256."""
SIGMA = {"heatmap": 2.0, "simcc": 6.0}
_SAMPLE = 24  # maps on which the slow forms are timed


@dataclass(frozen=True)
class Measurement:
    """What one loss costs on one head.

    Attributes:
        loss: Its registered name, or ``rank_sort`` for the operator alone.
        head: ``"heatmap"`` or ``"simcc"``.
        forward_ms: Median milliseconds of the forward pass.
        backward_ms: Of the backward pass.
        extra_mb: Peak memory of both beyond their input; None where the system does not tell.
        times_mse: Forward and backward together, as a multiple of MSE's on the same head.
        times_faster_than_published: For the operator, how much longer the published algorithm takes.
        times_faster_than_dense: For the operator, how much longer the N x P form takes.
    """

    loss: str
    head: str
    forward_ms: float
    backward_ms: float
    extra_mb: float | None
    times_mse: float
    times_faster_than_published: float | None = None
    times_faster_than_dense: float | None = None


def report_losses(device: str, repeats: int, threads: int | None, seed: int, as_json: bool) -> Iterator[str]:
    """The measurements of :func:`bench_losses` as lines: a Markdown table, or one JSON object each.

    Raises:
        ValueError: There is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU")
    if threads:
        torch.set_num_threads(threads)
    if not as_json:
        yield f"Batch of 64 x 17; heatmaps 48 x 64, SimCC 384 + 512 bins; {machine(device)}\n"
        yield "| loss | head | forward ms | backward ms | extra MB | x MSE | published / it | dense / it |"
        yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for measured in bench_losses(device, repeats, seed):
        if as_json:
            yield json.dumps({**asdict(measured), "machine": machine(device)})
        else:
            loss, head, *numbers = asdict(measured).values()
            cells = ["" if number is None else f"{number:.1f}" for number in numbers]
            yield f"| {' | '.join((loss, head, *cells))} |"


def bench_losses(device: str = "cpu", repeats: int = 7, seed: int = 0) -> Iterator[Measurement]:
    """Measure every registered loss on every head it serves, then the ranking operator and its relatives.

    A batch of 64 instances with 17 keypoints: heatmaps of 48 x 64 pixels with sigma 2, and SimCC vectors of
    384 and 512 bins with sigma 6. Predictions are standard normal. The operator takes every pixel with a
    label above 0 for a positive, up to 169 a map.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        repeats: Runs of which the median counts, after one to warm up.
        seed: Of keypoints and predictions.
    """
    for head in SIZE:
        target, prediction = _batch(head, device, seed)
        losses = {name: build(name, {}, KEYPOINTS).to(device) for name in available()}
        mse = losses.pop("mse")

        def time_loss(
            loss: HeatmapLoss, target: KeypointTarget = target, prediction: Maps = prediction
        ) -> tuple[float, float, float | None]:
            return _time(partial(loss, prediction, target), prediction, repeats)

        def mse_now(mse: HeatmapLoss = mse, time_loss: Callable[..., Any] = time_loss) -> float:
            """MSE's time, taken anew beside each: the machine is not always as fast."""
            forward, backward, _ = time_loss(mse)
            return float(forward + backward)

        mse_now()  # the first one finds nothing in the caches
        yield Measurement("mse", head, *time_loss(mse), times_mse=1.0)
        for name, loss in sorted(losses.items()):
            if head in loss.heads:
                reference = mse_now()
                forward, backward, extra = time_loss(loss)
                yield Measurement(name, head, forward, backward, extra, (forward + backward) / reference)
        yield from _operators(head, target, prediction, mse_now, repeats)


def bench_loss(
    name: str, parameters: Mapping[str, Any], head: str, repeats: int = 7, seed: int = 0
) -> Measurement:
    """Measure one loss on one head on the CPU, with the batch of :func:`bench_losses`, and MSE for the ratio.

    Args:
        name: Registered name of the loss.
        parameters: What differs from its defaults.
        head: ``"heatmap"`` or ``"simcc"``.
        repeats: Runs of which the median counts, after one to warm up.
        seed: Of keypoints and predictions.
    """
    target, prediction = _batch(head, "cpu", seed)
    losses = build("mse", {}, KEYPOINTS), build(name, parameters, KEYPOINTS)
    mse, own = (_time(partial(loss, prediction, target), prediction, repeats) for loss in losses)
    return Measurement(name, head, *own, times_mse=(own[0] + own[1]) / (mse[0] + mse[1]))


def _operators(
    head: str, target: KeypointTarget, prediction: Maps, mse_now: Callable[[], float], repeats: int
) -> Iterator[Measurement]:
    rows = [
        (map_.detach().flatten(0, 1).flatten(1).requires_grad_(), label.flatten(0, 1).flatten(1))
        for map_, label in zip(as_tuple(prediction), as_tuple(target.heatmaps), strict=True)
    ]
    scores = tuple(row for row, _ in rows)

    def time_on_rows(operator: Callable[..., tuple[Tensor, ...]]) -> tuple[float, float, float | None]:
        def run() -> dict[str, Tensor]:
            return {f"{n} {m}": e.sum() for n, row in enumerate(rows) for m, e in enumerate(operator(*row))}

        return _time(run, scores, repeats)  # type: ignore[arg-type]

    mse = mse_now()
    forward, backward, extra = time_on_rows(rank_sort)
    total = forward + backward
    sample = [(row.detach()[:_SAMPLE], label[:_SAMPLE]) for row, label in rows]
    scale = len(scores[0]) / _SAMPLE
    slower = {}
    for name, form in (("published", published_form), ("dense", dense_form)):
        samples = []
        for _ in range(3):
            started = _now(scores[0].device)
            for row, label in sample:
                form(row, label, 0.5)
            samples.append(_now(scores[0].device) - started)
        slower[name] = 1000 * statistics.median(samples) * scale / total
    yield Measurement(
        "rank_sort", head, forward, backward, extra, total / mse, slower["published"], slower["dense"]
    )
    for name, operator in (
        ("rank_sort, bucketed", partial(rank_sort, implementation="bucketed")),
        ("ap_loss", lambda *row: (ap_loss(*row),)),
    ):
        mse = mse_now()
        forward, backward, extra = time_on_rows(operator)
        yield Measurement(name, head, forward, backward, extra, (forward + backward) / mse)


def published_form(scores: Tensor, labels: Tensor, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rank & Sort row by row in the published way: a Python loop over the positives of each row.

    The algorithm of the authors' code (arXiv 2107.11669), whose cost is the number of positives times a few
    vector operations over all relevant elements.

    Returns:
        Ranking and sorting error of each row ``[M]``, and the gradient of their sum ``[M, N]``.
    """
    rank, sort = scores.new_zeros(len(scores)), scores.new_zeros(len(scores))
    gradients = torch.zeros_like(scores)
    for m in range(len(scores)):
        positive = labels[m] > 0
        count = int(positive.sum())
        if count == 0:
            continue
        s, y = scores[m, positive], labels[m, positive]
        relevant = (labels[m] == 0) & (scores[m] >= s.min() - delta)
        negatives = scores[m, relevant]
        positive_gradient, negative_gradient = torch.zeros_like(s), torch.zeros_like(negatives)
        ranking, sorting = torch.zeros_like(s), torch.zeros_like(s)
        for i in range(count):
            above = _smoothed_step(s - s[i], delta)
            false_positives = _smoothed_step(negatives - s[i], delta)
            rank_plus, mistaken = above.sum(), false_positives.sum()
            ranking[i] = mistaken / (rank_plus + mistaken)
            current = (above * (1 - y)).sum() / rank_plus
            rightly = (y >= y[i]) * above
            sorting[i] = current - (rightly * (1 - y)).sum() / rightly.sum()
            if mistaken > 1e-10:
                positive_gradient[i] -= ranking[i]
                negative_gradient += false_positives * (ranking[i] / mistaken)
            wrongly = (y < y[i]) * above
            missorted = wrongly.sum()
            if missorted > 1e-10:
                positive_gradient[i] -= sorting[i]
                positive_gradient += wrongly * (sorting[i] / missorted)
        gradients[m, positive] = positive_gradient / count
        gradients[m, relevant] = negative_gradient / count
        rank[m], sort[m] = ranking.mean(), sorting.mean()
    return rank, sort, gradients


def dense_form(scores: Tensor, labels: Tensor, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rank & Sort with all pairs of a row in one tensor ``[N, P]``, row by row; as :func:`published_form`."""
    rank, sort = scores.new_zeros(len(scores)), scores.new_zeros(len(scores))
    gradients = torch.zeros_like(scores)
    for m in range(len(scores)):
        positive = labels[m] > 0
        if not positive.any():
            continue
        s, y = scores[m, positive], labels[m, positive]
        pairs = _smoothed_step(scores[m, :, None] - s, delta)
        above, false_positives = pairs[positive], pairs * ~positive[:, None]
        rank_plus, mistaken = above.sum(0), false_positives.sum(0)
        ranking = mistaken / (rank_plus + mistaken)
        wrongly = above * (y[:, None] < y)
        missorted = wrongly.sum(0)
        price = 1 - y
        sorting = price @ above / rank_plus - price @ (above - wrongly) / (rank_plus - missorted)
        sorting = sorting.where(missorted > 0, 0)
        gradient = false_positives @ (ranking / mistaken).where(mistaken > 1e-10, 0)
        pushed = wrongly @ (sorting / missorted).where(missorted > 1e-10, 0)
        gradient[positive] = pushed - ranking - sorting
        gradients[m] = gradient / len(s)
        rank[m], sort[m] = ranking.mean(), sorting.mean()
    return rank, sort, gradients


def _smoothed_step(difference: Tensor, delta: float) -> Tensor:
    return (difference / (2 * delta) + 0.5).clamp(0, 1)


def _batch(head: str, device: str, seed: int) -> tuple[KeypointTarget, Maps]:
    generator = torch.Generator().manual_seed(seed)
    size, sigma = SIZE[head], SIGMA[head]
    keypoints = torch.rand(BATCH, KEYPOINTS, 2, generator=generator) * (torch.tensor(size) - 1)
    labels = []
    for axis, length in enumerate(size):
        distance = torch.arange(length) - keypoints[..., axis, None].round()
        # Labels end at 3 sigma, as mmpose draws heatmaps.
        labels.append(torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= 3 * sigma))
    x, y = labels
    heatmaps: Maps = (x, y) if head == "simcc" else y[..., :, None] * x[..., None, :]

    def moved(maps: Maps) -> Maps:
        return tuple(map_.to(device) for map_ in maps) if isinstance(maps, tuple) else maps.to(device)  # type: ignore[return-value]

    target = KeypointTarget(
        heatmaps=moved(heatmaps),
        keypoints=keypoints.to(device),
        weights=torch.ones(BATCH, KEYPOINTS, device=device),
        scale=torch.full((BATCH,), size[1] / 2, device=device),
        sigmas=torch.full((KEYPOINTS,), 0.08, device=device),
    )
    maps = [torch.randn(label.shape, generator=generator) for label in as_tuple(heatmaps)]
    prediction = moved((maps[0], maps[1]) if head == "simcc" else maps[0])
    for map_ in as_tuple(prediction):
        map_.requires_grad_()
    return target, prediction


def _time(
    run: Callable[[], dict[str, Tensor]], prediction: Maps, repeats: int
) -> tuple[float, float, float | None]:
    """Median milliseconds forward and backward, and the peak of extra memory in MB."""
    device = as_tuple(prediction)[0].device
    forward, backward = [], []
    for _ in range(repeats + 1):
        started, middle, ended = _run_once(run, prediction, device)
        forward.append(1000 * (middle - started))
        backward.append(1000 * (ended - middle))
    # Apart, since what it does to the allocator costs time. The least of three: what the system itself takes
    # meanwhile comes on top.
    peaks = []
    for _ in range(3):
        before = _reset_peak(device)
        _run_once(run, prediction, device)
        peaks.append(_peak(device, before))
    known = [peak for peak in peaks if peak is not None]
    # The first one warms up.
    return statistics.median(forward[1:]), statistics.median(backward[1:]), min(known) if known else None


def _run_once(
    run: Callable[[], dict[str, Tensor]], prediction: Maps, device: torch.device
) -> tuple[float, float, float]:
    """When it started, when the forward pass was done, and the backward pass, seconds."""
    for map_ in as_tuple(prediction):
        map_.grad = None
    started = _now(device)
    value = torch.stack(list(run().values())).sum()
    middle = _now(device)
    value.backward()
    return started, middle, _now(device)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reset_peak(device: torch.device) -> float | None:
    """Forget the peak of memory; what is in use now, MB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    if platform.system() != "Linux":
        return None
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator keeps would hide a peak
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(device: torch.device, before: float | None) -> float | None:
    if before is None:
        return None
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20 - before
    return _status("VmHWM") - before


def _status(field: str) -> float:
    """A line of /proc/self/status, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status: expected a line {field}, found none")


def machine(device: str = "cpu") -> str:
    """The device in words, with the number of threads that torch uses."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"
