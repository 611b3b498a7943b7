"""Time and memory of every loss, and what the ranking operator saves: `rspose bench losses`."""

import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rspose.grid.machine import cpu_name
from rspose.losses.interface import Maps, as_tuple, on_maps
from rspose.losses.rank_sort import ap_loss, rank_sort
from rspose.losses.registry import available, build
from rspose.tools.targets import FULL, KEYPOINTS, full_batch, learnable

_SAMPLE = 24  # maps on which the slow forms are timed


@dataclass(frozen=True)
class Measurement:
    """What one loss costs on one head."""

    loss: str  # its registered name, or rank_sort for the operator alone
    head: str
    forward_ms: float  # median
    backward_ms: float
    extra_mb: float | None  # peak memory beyond the input; None where the system does not tell
    times_mse: float  # both passes, as a multiple of MSE's on the same head
    times_faster_than_published: float | None = None  # of the operator: how much longer that form takes
    times_faster_than_dense: float | None = None


def report_losses(device: str, repeats: int, threads: int | None, seed: int, as_json: bool) -> Iterator[str]:
    """Measure every registered loss on every head it serves, then the ranking operator and its relatives.

    The batch is that of :func:`rspose.tools.targets.full_batch`, with standard normal predictions. The
    operator takes every pixel with a label above 0 for a positive, 169 a map.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        repeats: Runs of which the median counts, after one to warm up.
        threads: CPU threads of torch; None for as many as it takes by itself.
        seed: Of keypoints and predictions.
        as_json: Give a JSON object a loss and head, not the lines of a Markdown table.

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
    for measured in _measurements(device, repeats, seed):
        if as_json:
            yield json.dumps({**asdict(measured), "machine": machine(device)})
        else:
            loss, head, *numbers = asdict(measured).values()
            cells = ["" if number is None else f"{number:.1f}" for number in numbers]
            yield f"| {' | '.join((loss, head, *cells))} |"


def _measurements(device: str, repeats: int, seed: int) -> Iterator[Measurement]:
    for head in FULL:
        bench = _Bench(head, device, repeats, seed)
        bench.mse_now()  # the first one finds nothing in the caches
        for name, loss in sorted(available().items(), key=lambda pair: (pair[0] != "mse", pair[0])):
            if head in loss.heads:
                yield bench.loss(name, {})
        yield from _operators(bench)


def bench_loss(name: str, parameters: Mapping[str, Any], head: str) -> Measurement:
    """Measure one loss on one head on the CPU, with the batch of :func:`report_losses`, and MSE beside it.

    Args:
        name: Registered name of the loss.
        parameters: What differs from its defaults.
        head: ``"heatmap"`` or ``"simcc"``.
    """
    return _Bench(head, "cpu", repeats=7, seed=0).loss(name, parameters)


class _Bench:
    """One head, its batch, and MSE, timed anew beside each loss: no machine is always as fast."""

    def __init__(self, head: str, device: str, repeats: int, seed: int) -> None:
        self.head, self.device, self.repeats = head, device, repeats
        self.target, self.prediction = full_batch(head, device, seed)
        self._mse = self._built("mse", {})

    def _built(self, name: str, parameters: Mapping[str, Any]) -> Callable[[], dict[str, Tensor]]:
        loss = build(name, parameters, KEYPOINTS).to(self.device)
        return partial(loss, self.prediction, self.target)

    def mse_now(self) -> float:
        forward, backward, _ = _time(self._mse, self.prediction, self.repeats)
        return forward + backward

    def loss(self, name: str, parameters: Mapping[str, Any]) -> Measurement:
        return self.measure(name, self._built(name, parameters), self.prediction)

    def measure(self, name: str, run: Callable[[], dict[str, Tensor]], leaves: Maps) -> Measurement:
        reference = self.mse_now()
        forward, backward, extra = _time(run, leaves, self.repeats)
        times = 1.0 if name == "mse" else (forward + backward) / reference
        return Measurement(name, self.head, forward, backward, extra, times)


def _operators(bench: _Bench) -> Iterator[Measurement]:
    """The ranking operator, how much longer its slow forms take, and its relatives."""
    rows = learnable(on_maps(_as_rows, bench.prediction))
    pairs = list(zip(as_tuple(rows), as_tuple(on_maps(_as_rows, bench.target.heatmaps)), strict=True))

    def run(operator: Callable[..., tuple[Tensor, ...]]) -> dict[str, Tensor]:
        return {f"{n} {m}": e.sum() for n, pair in enumerate(pairs) for m, e in enumerate(operator(*pair))}

    measured = bench.measure("rank_sort", partial(run, rank_sort), rows)
    scale = len(pairs[0][0]) / _SAMPLE / (measured.forward_ms + measured.backward_ms)
    slower: dict[str, Any] = {}
    for name, form in (("published", published_form), ("dense", dense_form)):
        samples = []
        for _ in range(3):
            started = _now(pairs[0][0].device)
            for row, label in pairs:
                form(row.detach()[:_SAMPLE], label[:_SAMPLE], 0.5)
            samples.append(1000 * (_now(pairs[0][0].device) - started))
        slower[f"times_faster_than_{name}"] = statistics.median(samples) * scale
    yield replace(measured, **slower)
    yield bench.measure(
        "rank_sort, bucketed", partial(run, partial(rank_sort, implementation="bucketed")), rows
    )
    yield bench.measure("ap_loss", partial(run, lambda *pair: (ap_loss(*pair),)), rows)


def _as_rows(maps: Tensor) -> Tensor:
    return maps.flatten(0, 1).flatten(1)


def _row_by_row(form: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Of what a form makes of a row's positives and negatives, the result for all rows.

    That is ranking and sorting error ``[M]``, and the gradient of their sum ``[M, N]``.
    """

    @wraps(form)
    def of_rows(scores: Tensor, labels: Tensor, delta: float) -> tuple[Tensor, Tensor, Tensor]:
        errors, gradients = scores.new_zeros(2, len(scores)), torch.zeros_like(scores)
        for m, (row, label) in enumerate(zip(scores, labels, strict=True)):
            positive = label > 0
            if positive.any():
                negative = ~positive & (row >= row[positive].min() - delta)
                rank, sort, up, down = form(row[positive], label[positive], row[negative], delta)
                errors[:, m] = torch.stack([rank.mean(), sort.mean()])
                gradients[m, positive], gradients[m, negative] = up / len(up), down / len(up)
        return errors[0], errors[1], gradients

    return of_rows


@_row_by_row
def published_form(s: Tensor, y: Tensor, negatives: Tensor, delta: float) -> tuple[Tensor, ...]:
    """Rank & Sort in the published way: a Python loop over the positives of each row.

    The algorithm of the authors' code (arXiv 2107.11669), whose cost is the number of positives times a few
    vector operations over all relevant elements.
    """
    up, down = torch.zeros_like(s), torch.zeros_like(negatives)
    ranking, sorting = torch.zeros_like(s), torch.zeros_like(s)
    for i in range(len(s)):
        above = _smoothed_step(s - s[i], delta)
        false_positives = _smoothed_step(negatives - s[i], delta)
        rank_plus, mistaken = above.sum(), false_positives.sum()
        ranking[i] = mistaken / (rank_plus + mistaken)
        rightly, wrongly = (y >= y[i]) * above, (y < y[i]) * above
        sorting[i] = (above * (1 - y)).sum() / rank_plus - (rightly * (1 - y)).sum() / rightly.sum()
        if mistaken > 1e-10:
            up[i] -= ranking[i]
            down += false_positives * (ranking[i] / mistaken)
        missorted = wrongly.sum()
        if missorted > 1e-10:
            up[i] -= sorting[i]
            up += wrongly * (sorting[i] / missorted)
    return ranking, sorting, up, down


@_row_by_row
def dense_form(s: Tensor, y: Tensor, negatives: Tensor, delta: float) -> tuple[Tensor, ...]:
    """Rank & Sort with all pairs of a row in one tensor."""
    pairs = _smoothed_step(torch.cat([s, negatives])[:, None] - s, delta)
    above, false_positives = pairs.split([len(s), len(negatives)])
    rank_plus, mistaken = above.sum(0), false_positives.sum(0)
    ranking = mistaken / (rank_plus + mistaken)
    wrongly = above * (y[:, None] < y)
    missorted, price = wrongly.sum(0), 1 - y
    sorting = price @ above / rank_plus - price @ (above - wrongly) / (rank_plus - missorted)
    sorting = sorting.where(missorted > 0, 0)
    down = false_positives @ (ranking / mistaken).where(mistaken > 1e-10, 0)
    pushed = wrongly @ (sorting / missorted).where(missorted > 1e-10, 0)
    return ranking, sorting, pushed - ranking - sorting, down


def _smoothed_step(difference: Tensor, delta: float) -> Tensor:
    return (difference / (2 * delta) + 0.5).clamp(0, 1)


def _time(
    run: Callable[[], dict[str, Tensor]], prediction: Maps, repeats: int
) -> tuple[float, float, float | None]:
    """Median milliseconds forward and backward, and the peak of extra memory in MB."""
    device = as_tuple(prediction)[0].device
    moments = [_run_once(run, prediction, device) for _ in range(repeats + 1)][1:]  # the first one warms up
    forward, backward = (
        1000 * statistics.median(each[n + 1] - each[n] for each in moments) for n in range(2)
    )
    # Apart, since what it does to the allocator costs time. The least of three: what the system itself takes
    # meanwhile comes on top.
    peaks = []
    for _ in range(3 if device.type == "cuda" or platform.system() == "Linux" else 0):
        before = _reset_peak(device)
        _run_once(run, prediction, device)
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else _status("VmHWM")
        peaks.append(peak - before)
    return forward, backward, min(peaks, default=None)


def _run_once(run: Callable[[], dict[str, Tensor]], prediction: Maps, device: torch.device) -> list[float]:
    """When it started, when the forward pass was done, and the backward pass, seconds."""
    for map_ in as_tuple(prediction):
        map_.grad = None
    started = _now(device)
    value = torch.stack(list(run().values())).sum()
    middle = _now(device)
    value.backward()
    return [started, middle, _now(device)]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reset_peak(device: torch.device) -> float:
    """Forget the peak of memory; what is in use now, MB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator keeps would hide a peak
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(field: str) -> float:
    """A line of /proc/self/status, MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def machine(device: str = "cpu") -> str:
    """The device in words, with the number of threads that torch uses."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"
