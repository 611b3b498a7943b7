"""Time and memory of every loss, and what the ranking operator saves: `rspose bench losses`."""

import ctypes
import json
import platform
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.benchmark import timer  # waits for a GPU first

from rspose.grid.machine import cpu_name, proc_bytes
from rspose.losses.interface import Maps, as_tuple, on_maps
from rspose.losses.rank_sort import ap_loss, rank_sort
from rspose.losses.registry import available, build
from rspose.tools.targets import FULL, learnable, make_target, noise

Row = dict[str, Any]
Run = Callable[[], dict[str, Tensor]]
Columns = Mapping[str, tuple[str, str]]
"""The heading of each key of a measurement that is shown, and its format."""

BATCH, KEYPOINTS = 64, 17
_SAMPLE = 24  # maps on which the slow forms are timed
_COLUMNS: Columns = {
    "loss": ("loss", ""),
    "head": ("head", ""),
    "forward_ms": ("forward ms", ".1f"),
    "backward_ms": ("backward ms", ".1f"),
    "extra_mb": ("extra MB", ".1f"),
    "times_mse": ("x MSE", ".1f"),
    "times_faster_than_published": ("x slower: published loop", ".1f"),
    "times_faster_than_dense": ("x slower: all pairs at once", ".1f"),
}


def report_losses(device: str, repeats: int, threads: int | None, seed: int, as_json: bool) -> Iterator[str]:
    """Measure every registered loss on every head it serves, then the ranking operator and its relatives.

    The operator takes every pixel with a label above 0 for a positive, 169 a map. Medians are of ``repeats``
    runs, after one to warm up; ``threads`` are torch's, None for as many as it takes by itself.

    Raises:
        ValueError: There is no such device.
    """
    if threads:
        torch.set_num_threads(threads)
    on = machine(device)
    benches = (Bench(head, device, repeats, seed) for head in FULL)
    measured = ({**row, "machine": on} for bench in benches for row in bench.everything())
    title = f"Batch of 64 x 17; heatmaps 48 x 64, SimCC 384 + 512 bins; {on}"
    return report(title, _COLUMNS, measured, as_json)


def report(title: str, columns: Columns, measured: Iterable[Row], as_json: bool) -> Iterator[str]:
    """A JSON object a measurement, or the lines of a Markdown table, each as soon as it has been measured."""
    if not as_json:
        rules = ["---:" if form else "---" for _, form in columns.values()]
        yield f"{title}\n"
        yield f"| {' | '.join(heading for heading, _ in columns.values())} |\n| {' | '.join(rules)} |"
    for row in measured:
        shown = ((row[key], form) for key, (_, form) in columns.items())
        cells = ("" if value is None else format(value, form) for value, form in shown)
        yield json.dumps(row) if as_json else f"| {' | '.join(cells)} |"


def machine(device: str) -> str:
    """The device in words, with the number of threads that torch uses.

    Raises:
        ValueError: It is a GPU, and there is none.
    """
    if device == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch sees no GPU")
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"


class Bench:
    """One head and a random batch; MSE is timed anew beside each loss: no machine is always as fast.

    A measurement has ``forward_ms`` and ``backward_ms``, medians; ``extra_mb``, the peak of memory beyond the
    input, None where the system does not tell; ``times_mse``, both passes as a multiple of MSE's.
    """

    def __init__(self, head: str, device: str = "cpu", repeats: int = 7, seed: int = 0) -> None:
        self.head, self.device, self.repeats = head, torch.device(device), repeats
        # Labels end at 3 sigma, as mmpose's do.
        target = make_target(head, BATCH, KEYPOINTS, seed=seed, layout=FULL[head], reach=3.0)
        self.target = target.to(device)
        self.prediction = learnable(on_maps(lambda map_: map_.to(device), noise(target.heatmaps, seed)))
        self._mse = self._built("mse", {})

    def _built(self, name: str, parameters: Mapping[str, Any]) -> Run:
        loss = build(name, parameters, KEYPOINTS).to(self.device)
        return partial(loss, self.prediction, self.target)

    def loss(self, name: str, parameters: Mapping[str, Any]) -> Row:
        """Measure a loss, by its registered name, with what differs from its default parameters."""
        return self._measured(name, self._built(name, parameters), self.prediction)

    def everything(self) -> Iterator[Row]:
        """Measure MSE, all other losses of the head, the ranking operator and its relatives."""
        self._times(self._mse, self.prediction)  # the first one finds nothing in the caches
        for name, loss in sorted(available().items(), key=lambda pair: (pair[0] != "mse", pair[0])):
            if self.head in loss.heads:
                yield self.loss(name, {})
        logits, labels = (
            on_maps(lambda map_: map_.detach().flatten(0, 1).flatten(1), maps)
            for maps in (self.prediction, self.target.heatmaps)
        )
        rows = learnable(logits)
        pairs = list(zip(as_tuple(rows), as_tuple(labels), strict=True))

        def run(operator: Callable[..., tuple[Tensor, ...]]) -> dict[str, Tensor]:
            return {
                f"{n} {m}": e.sum() for n, pair in enumerate(pairs) for m, e in enumerate(operator(*pair))
            }

        measured = self._measured("rank_sort", partial(run, rank_sort), rows)
        scale = 1000 * len(pairs[0][0]) / _SAMPLE / (measured["forward_ms"] + measured["backward_ms"])
        for name, form in (("published", published_form), ("dense", dense_form)):
            seconds = []
            for _ in range(3):
                started = timer()
                for row, label in pairs:
                    row_by_row(form, row.detach()[:_SAMPLE], label[:_SAMPLE], 0.5)
                seconds.append(timer() - started)
            measured[f"times_faster_than_{name}"] = statistics.median(seconds) * scale
        yield measured
        bucketed = partial(rank_sort, implementation="bucketed")
        yield self._measured("rank_sort, bucketed", partial(run, bucketed), rows)
        yield self._measured("ap_loss", partial(run, lambda *pair: (ap_loss(*pair),)), rows)

    def _measured(self, name: str, run: Run, leaves: Maps) -> Row:
        reference = sum(self._times(self._mse, self.prediction))
        forward, backward = self._times(run, leaves)
        # Apart, since what it does to the allocator costs time. The least of three: what the system itself
        # takes meanwhile comes on top.
        extra = [_extra_mb(partial(_run_once, run, leaves), self.device) for _ in range(3)]
        return {
            "loss": name,
            "head": self.head,
            "forward_ms": forward,
            "backward_ms": backward,
            "extra_mb": min((each for each in extra if each is not None), default=None),
            "times_mse": 1.0 if name == "mse" else (forward + backward) / reference,
            **dict.fromkeys(("times_faster_than_published", "times_faster_than_dense")),
        }

    def _times(self, run: Run, leaves: Maps) -> tuple[float, float]:
        """Median milliseconds forward and backward."""
        runs = [_run_once(run, leaves) for _ in range(self.repeats + 1)][1:]  # the first one warms up
        forward, backward = (1000 * statistics.median(seconds) for seconds in zip(*runs, strict=True))
        return forward, backward


def _run_once(run: Run, leaves: Maps) -> tuple[float, float]:
    """Seconds of the forward pass and of the backward pass."""
    for leaf in as_tuple(leaves):
        leaf.grad = None
    started = timer()
    value = torch.stack(list(run().values())).sum()
    middle = timer()
    value.backward()
    return middle - started, timer() - middle


def _extra_mb(run: Callable[[], object], device: torch.device) -> float | None:
    """The peak of memory beyond what is in use before, MB; None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if platform.system() != "Linux":
        return None
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the allocator keeps would hide a peak
    try:
        Path("/proc/self/clear_refs").write_text("5")
        resident = proc_bytes("self/status", "VmRSS")
        run()
        return (proc_bytes("self/status", "VmHWM") - resident) / 2**20
    except (OSError, KeyError):  # not every container has them
        return None


def row_by_row(
    form: Callable[..., tuple[Tensor, ...]], scores: Tensor, labels: Tensor, delta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Ranking and sorting error ``[M]``, and the gradient of their sum ``[M, N]``, by a form of one row.

    The form is given scores and labels of the row's positives, and the scores of its relevant negatives.
    """
    errors, gradients = scores.new_zeros(2, len(scores)), torch.zeros_like(scores)
    for m, (row, label) in enumerate(zip(scores, labels, strict=True)):
        positive = label > 0
        if positive.any():
            negative = ~positive & (row >= row[positive].min() - delta)
            rank, sort, up, down = form(row[positive], label[positive], row[negative], delta)
            errors[:, m] = torch.stack([rank.mean(), sort.mean()])
            gradients[m, positive], gradients[m, negative] = up / len(up), down / len(up)
    return errors[0], errors[1], gradients


def published_form(s: Tensor, y: Tensor, negatives: Tensor, delta: float) -> tuple[Tensor, ...]:
    """Rank & Sort as in the authors' code (arXiv 2107.11669): a Python loop over the positives of a row."""
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
    # With a tensor for each operation, as published: the project's own works in place.
    return (difference / (2 * delta) + 0.5).clamp(0, 1)
