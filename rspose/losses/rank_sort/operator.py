"""The Rank & Sort operator on independent rows, with identity-update gradients and no N x P tensor."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from rspose.losses.rank_sort.reference import rank_sort_reference

Implementation = Literal["auto", "reference", "torch", "triton", "bucketed"]

_IMPLEMENTATIONS = ("reference", "torch", "triton", "bucketed")
NEGLIGIBLE = 1e-10  # the published eps: with less misplaced mass than this, a positive passes no error on
_ROW_BLOCK = 1 << 18  # elements of the rows that are compared at a time
_CHUNK = 1 << 18  # elements of a positive-positive block: 1 MB in float32, to stay in the cache
_FEW = 128  # positives in a row, up to which comparing all pairs is faster than cutting the row into segments
_PAIRS = 1 << 20  # elements of a positive-negative block; there is none where a single row would not fit


def rank_sort(
    scores: Tensor,
    labels: Tensor,
    valid: Tensor | None = None,
    delta: float = 0.5,
    implementation: Implementation = "auto",
) -> tuple[Tensor, Tensor]:
    r"""Ranking and sorting error of each row: positives above negatives, and among themselves by label.

    Within a row, positives :math:`\mathcal P` are the elements with a label above 0, negatives
    :math:`\mathcal N` those with label 0. With :math:`x_{ij} = s_j - s_i` and
    :math:`H(x) = \min(\max(x / 2\delta + 1/2, 0), 1)`, or :math:`[x \ge 0]` for :math:`\delta = 0`, each
    positive :math:`i` has (sums over :math:`j`, itself included):

    .. math::
        \mathrm{rank}^+(i) &= \sum_{\mathcal P} H(x_{ij}), \qquad
        N_{FP}(i) = \sum_{\mathcal N} H(x_{ij}), \qquad
        \ell_R(i) = \frac{N_{FP}(i)}{\mathrm{rank}^+(i) + N_{FP}(i)} \\
        \ell_S(i) &= \frac{\sum_{\mathcal P} H(x_{ij}) (1 - y_j)}{\mathrm{rank}^+(i)} \\
        \ell_S^*(i) &= \frac{\sum_{\mathcal P} H(x_{ij}) [y_j \ge y_i] (1 - y_j)}
            {\sum_{\mathcal P} H(x_{ij}) [y_j \ge y_i]}

    and the row's values are the means over its positives of :math:`\ell_R` and of :math:`\ell_S - \ell_S^*`.
    Oksuz et al., "Rank & Sort Loss for Object Detection and Instance Segmentation", ICCV 2021,
    arXiv 2107.11669, equations 7 and 8.

    The gradients are its identity update (equation 9), written directly: the error of a positive pulls it up
    and pushes down, by the same amount, the elements that cause the error, in proportion to :math:`H`:
    negatives for the ranking error, positives with a smaller label for the sorting error. Rank and sort carry
    separate gradients, so they can be weighted separately; in the published code one joint gradient takes the
    weight of the rank term.

    Memory is O(N + P) a row, up to blocks of fixed size; time O(N log P + P^2), on a GPU O(N P).

    Implementations: ``"torch"`` in plain PyTorch, on any device; ``"triton"``, kernels for CUDA that compare
    all pairs; ``"reference"``, loops that read like the definition, for tests. They agree but for rounding.
    ``"bucketed"`` is an approximation: negatives between two neighbouring positives all count as if they had
    their mean score (Yavuz et al., "Bucketed Ranking-based Losses for Efficient Training of Object
    Detectors", ECCV 2024, arXiv 2407.14204); it is exact for delta = 0.

    Args:
        scores: raw logits ``[M, N]``, floating point, any range.
        labels: ``[M, N]`` in [0, 1], 0 for negatives.
        valid: boolean ``[M, N]``, False for elements that are neither positive nor negative; None for all
            valid.
        delta: half width of the smoothed step, at least 0, in units of the scores. Default: the paper's 0.5.
        implementation: see above; ``"auto"`` is ``"triton"`` on a GPU where Triton is installed, else
            ``"torch"``.

    Returns:
        The ranking error and the sorting error, each ``[M]``; 0 for a row without positives. Both are below
        1, the ranking error is at least 0. In float32 where the scores are in half precision.

    Raises:
        ValueError: shapes disagree, scores or labels are not in floating point, delta is negative, or there
            is no such implementation. Values are not looked at, which a GPU would have to wait for: the
            losses do that.
        ImportError: Triton is asked for and not installed.

    Example:
        >>> import torch
        >>> rank, sort = rank_sort(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[1.0, 0.5, 0.0]]))
        >>> rank, sort  # the second positive stands below the negative: 1 / (1.5 + 1), over 2 positives
        (tensor([0.2000]), tensor([0.]))
    """
    _check("rank_sort", scores, labels, valid, delta)
    if implementation == "auto":
        implementation = "triton" if scores.is_cuda and importlib.util.find_spec("triton") else "torch"
    if implementation not in _IMPLEMENTATIONS:
        expected = ", ".join(("auto", *_IMPLEMENTATIONS))
        raise ValueError(f"rank_sort: implementation: expected one of {expected}, found {implementation!r}")
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    with torch.autocast(device_type=scores.device.type, enabled=False):
        if implementation == "reference":
            rank, sort = _Reference.apply(scores, labels, valid, float(delta))
        elif implementation == "triton":
            rank, sort = _triton()(scores, labels, valid, float(delta))
        else:
            rank, sort = _RankSort.apply(scores, labels, valid, float(delta), implementation)
    return rank, sort


def ap_loss(
    scores: Tensor,
    labels: Tensor,
    valid: Tensor | None = None,
    delta: float = 1.0,
    interpolate: bool = True,
) -> Tensor:
    r"""Average precision loss of each row: one minus the mean precision at its positives.

    With H, positives and negatives of :func:`rank_sort`, but each positive counting itself once,

    .. math::
        \mathrm{rank}^+(i) = 1 + \sum_{\mathcal P \setminus i} H(x_{ij}), \qquad
        \mathrm{precision}(i) = \frac{\mathrm{rank}^+(i)}{\mathrm{rank}^+(i) + N_{FP}(i)}

    interpolated: a positive has the best precision of those with a score no higher than its own. The error
    of a positive, one minus that precision, pulls it up and pushes its false positives down in proportion to
    H, as in :func:`rank_sort`. Chen et al., "AP-Loss for Accurate One-Stage Object Detection", TPAMI 2020,
    arXiv 2008.07294, as in the code of Rank & Sort Loss. Beside the ranking error of :func:`rank_sort` it
    shows what the self term and the interpolation do.

    Args:
        scores: raw logits ``[M, N]``, floating point, any range.
        labels: ``[M, N]``; positives are those above 0, by how much does not matter.
        valid: boolean ``[M, N]``, False for elements that are neither; None for all valid.
        delta: half width of the smoothed step, at least 0, in units of the scores. Default: the published 1.
        interpolate: whether precisions are interpolated, as published.

    Returns:
        ``[M]`` in [0, 1); 0 for a row without positives.

    Raises:
        ValueError: shapes disagree, scores or labels are not in floating point, or delta is negative.

    Example:
        >>> import torch
        >>> ap_loss(torch.tensor([[5.0, 1.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0]]))  # precisions 1, 2 / 3
        tensor([0.1667])
    """
    _check("ap_loss", scores, labels, valid, delta)
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    with torch.autocast(device_type=scores.device.type, enabled=False):
        return _APLoss.apply(scores, labels, valid, float(delta), interpolate)


def _check(function: str, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(f"{function}: expected scores and labels [M, N], found {_shapes(scores, labels)}")
    if not (scores.is_floating_point() and labels.is_floating_point()):
        found = f"{_dtype(scores)} and {_dtype(labels)}"
        raise ValueError(f"{function}: expected scores and labels in floating point, found {found}")
    if valid is not None and valid.shape != scores.shape:
        raise ValueError(f"{function}: expected valid shaped like scores, found {_shapes(scores, valid)}")
    if not delta >= 0:
        raise ValueError(f"{function}: delta: expected a number of at least 0, found {delta}")


def _shapes(*tensors: Tensor) -> str:
    return " and ".join(str(list(tensor.shape)) for tensor in tensors)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _split(labels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Masks of the positives and the negatives."""
    positive, negative = labels > 0, labels <= 0
    return (positive, negative) if valid is None else (positive & valid, negative & valid)


class _Reference(Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float
    ) -> tuple[Tensor, Tensor]:
        rank, sort, *gradients = rank_sort_reference(scores, labels, delta, valid)
        ctx.save_for_backward(*gradients)
        return rank, sort

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rank_weight: Tensor, sort_weight: Tensor) -> tuple[Tensor, None, None, None]:
        rank_gradient, sort_gradient = ctx.saved_tensors
        gradient = rank_gradient * rank_weight[:, None] + sort_gradient * sort_weight[:, None]
        return gradient, None, None, None


class _APLoss(Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float, interpolate: bool
    ) -> Tensor:
        positive, negative = _split(labels, valid)
        positives = _Positives(scores, labels, positive)
        present = positives.present
        if present.shape[1] == 0:
            ctx.save_for_backward(scores.new_zeros(scores.shape))
            return scores.new_zeros(len(scores))
        count = present.sum(dim=1).clamp_min(1).double()
        segments = _Segments(scores, positives, delta)
        false_positives = segments.sum_over_negatives(scores, negative)
        own = 0.5 if delta > 0 else 1.0  # H(0), which is replaced by 1
        rank_plus = _among_positives(positives, delta)[0].double() + 1 - own
        precision = rank_plus / (rank_plus + false_positives)
        if interpolate:
            # The best so far, from the lowest score upwards; empty slots come last.
            order = positives.scores.where(present, float("inf")).argsort(dim=1, stable=True)
            best = precision.gather(1, order).cummax(dim=1).values
            precision = torch.empty_like(best).scatter_(1, order, best)
        error = (1 - precision).where(present, 0)
        share = present & (false_positives > NEGLIGIBLE)
        coefficient = (error / false_positives).where(share, 0) / count[:, None]
        gradient = segments.sum_over_positives(scores, coefficient).to(scores.dtype)
        gradient.masked_fill_(~negative, 0)
        positives.add_to(gradient, -(error.where(share, 0) / count[:, None]).to(scores.dtype))
        ctx.save_for_backward(gradient)
        return (error.sum(dim=1) / count).to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * weight[:, None], None, None, None, None


class _RankSort(Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float, implementation: str
    ) -> tuple[Tensor, Tensor]:
        # Rows do not depend on each other: a few at a time need little memory and stay in the cache.
        height = max(1, _ROW_BLOCK // max(1, scores.shape[1]))
        parts = [
            _compare(*rows, delta, implementation, ctx.needs_input_grad[0])
            for rows in _row_blocks(scores, labels, valid, height)
        ]
        ctx.positives = [part.positives for part in parts]
        ctx.save_for_backward(*(each for part in parts for each in (part.rank_gradient, part.sort_gradient)))
        return torch.cat([part.rank for part in parts]), torch.cat([part.sort for part in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rank_weight: Tensor, sort_weight: Tensor) -> tuple[Tensor, None, None, None, None]:
        gradients, first = [], 0
        saved = ctx.saved_tensors
        for positives, rank_gradient, sort_gradient in zip(
            ctx.positives, saved[::2], saved[1::2], strict=True
        ):
            rows = slice(first, first + len(rank_gradient))
            gradient = rank_gradient * rank_weight[rows, None]
            positives.add_to(gradient, sort_gradient * sort_weight[rows, None])
            gradients.append(gradient)
            first = rows.stop
        return torch.cat(gradients), None, None, None, None


def _row_blocks(
    scores: Tensor, labels: Tensor, valid: Tensor | None, height: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """The arguments, ``height`` rows at a time; one block without rows where there are none."""
    for first in range(0, max(1, len(scores)), height):
        rows = slice(first, first + height)
        yield scores[rows], labels[rows], None if valid is None else valid[rows]


class _Compared(NamedTuple):
    """Errors ``[M]`` of some rows and their gradients, that of the sorting error packed: ``[M, P]``."""

    rank: Tensor
    sort: Tensor
    rank_gradient: Tensor
    sort_gradient: Tensor
    positives: "_Positives"


def _compare(
    scores: Tensor,
    labels: Tensor,
    valid: Tensor | None,
    delta: float,
    implementation: str,
    with_gradients: bool,
) -> _Compared:
    """Compare the elements of some rows; no gradients unless they are asked for."""
    positive, negative = _split(labels, valid)
    positives = _Positives(scores, labels, positive)
    present = positives.present
    nothing = scores.new_zeros(len(scores))
    if present.shape[1] == 0:
        return _Compared(nothing, nothing, scores.new_zeros(scores.shape), positives.scores, positives)
    count = present.sum(dim=1).clamp_min(1).to(scores.dtype)
    rank_plus, sorting, sort_gradient = _among_positives(positives, delta)

    def push(false_positives: Tensor, rows: slice) -> Tensor:
        """What a positive pushes a negative with H = 1 down by: l_R / N_FP = 1 / rank, where N_FP cancels."""
        share = present[rows] & (false_positives > NEGLIGIBLE)
        return share / count[rows, None] / (rank_plus[rows] + false_positives)

    between = _between(implementation, scores, positives, delta)
    false_positives, rank_gradient = between.sums(scores, negative, push if with_gradients else None)
    ranking = (false_positives / (rank_plus + false_positives)).where(present, 0)
    if with_gradients:
        rank_gradient = rank_gradient.to(scores.dtype).masked_fill_(~negative, 0)
        own = ranking.where(false_positives > NEGLIGIBLE, 0) / count[:, None]
        positives.add_to(rank_gradient, -own.to(scores.dtype))
        sort_gradient = sort_gradient / count[:, None]
    return _Compared(
        ranking.sum(dim=1).to(scores.dtype) / count,
        sorting.sum(dim=1) / count,
        rank_gradient,
        sort_gradient,
        positives,
    )


class _Positives:
    """The positives of each row, packed to the left: ``[M, P]`` with P the largest number in a row.

    Attributes:
        present: which slots hold a positive.
        scores: of the positives; 0 in empty slots.
        labels: of the positives; infinite in empty slots, so that no empty slot is a rival with a smaller
            label.
    """

    def __init__(self, scores: Tensor, labels: Tensor, positive: Tensor) -> None:
        self._index = positive.flatten().nonzero().squeeze(1)
        counts = positive.sum(dim=1)
        width = int(counts.max()) if len(counts) else 0
        rows = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        self._slot = rows * width + torch.arange(len(rows), device=rows.device) - first[rows]
        self._shape = (len(scores), width)
        self.scores = self._packed(scores, 0.0)
        self.labels = self._packed(labels.to(scores.dtype), float("inf"))
        self.present = torch.arange(width, device=counts.device) < counts[:, None]

    def _packed(self, values: Tensor, empty: float) -> Tensor:
        packed = values.new_full(self._shape, empty)
        packed.view(-1)[self._slot] = values.flatten()[self._index]
        return packed

    def add_to(self, target: Tensor, values: Tensor) -> None:
        """Add values ``[M, P]`` of the positives to their places in a contiguous ``[M, N]`` tensor."""
        target.view(-1)[self._index] += values.flatten()[self._slot]


def _among_positives(positives: _Positives, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compare positives with positives: rank+, l_S - l_S* and |P| times the gradient of the sorting error."""
    s, y, present = positives.scores, positives.labels, positives.present
    rows, width = s.shape
    rank_plus, sorting, gradient = torch.ones_like(s), torch.zeros_like(s), torch.zeros_like(s)
    # Both sums over j in one product: how many stand above i, and what they cost, the sum of their 1 - y.
    columns = torch.stack([present.to(s.dtype), (1 - y).where(present, 0)], dim=1)
    row_block, block = max(1, _CHUNK // width**2), max(1, min(width, _CHUNK // width))
    for first_row in range(0, rows, row_block):
        r = slice(first_row, first_row + row_block)
        for first in range(0, width, block):
            i = slice(first, first + block)
            valid = present[r, i]
            above = _step(s[r, :, None] - s[r, None, i], delta)  # [rows, j, i]
            total, cost = (columns[r] @ above).unbind(1)
            # Masks are floats, and sums over i a product and a sum: much faster than booleans and than bmm.
            missorted = torch.lt(y[r, :, None], y[r, None, i], out=torch.empty_like(above)).mul_(above)
            rivals, rivals_cost = (columns[r] @ missorted).unbind(1)
            # i itself counts in both sums (H(0) > 0) and is no rival of its own: no denominator vanishes.
            total, others = total.where(valid, 1), (total - rivals).where(valid, 1)
            error = (cost / total - (cost - rivals_cost) / others).where(valid & (rivals > 0), 0)
            passed_on = error.where(rivals > NEGLIGIBLE, 0)
            rank_plus[r, i], sorting[r, i] = total, error
            gradient[r, i] -= passed_on
            gradient[r] += missorted.mul_((passed_on / rivals).where(rivals > NEGLIGIBLE, 0)[:, None, :]).sum(
                dim=2
            )
    return rank_plus, sorting, gradient


def _step(difference: Tensor, delta: float) -> Tensor:
    """H of the definition; overwrites its argument."""
    if delta == 0:
        return difference.ge_(0)
    return difference.div_(2 * delta).add_(0.5).clamp_(0, 1)


_Push = Callable[[Tensor, slice], Tensor]


class _Between(ABC):
    """Positives against negatives."""

    def sums(self, scores: Tensor, negative: Tensor, push: _Push | None) -> tuple[Tensor, Tensor]:
        """Return ``N_FP(i)`` ``[M, P]``, and for each element j the sum over the positives of ``c_i H``.

        Args:
            scores: ``[M, N]``.
            negative: Which of them are negatives, ``[M, N]``.
            push: The coefficients c ``[m, P]`` from ``N_FP`` of some rows; without it there are no sums over
                the positives.
        """
        false_positives = self.sum_over_negatives(scores, negative)
        if push is None:
            return false_positives, scores.new_zeros(0)
        return false_positives, self.sum_over_positives(scores, push(false_positives, slice(None)))

    @abstractmethod
    def sum_over_negatives(self, scores: Tensor, negative: Tensor) -> Tensor:
        """Return ``N_FP(i) = sum_j H(s_j - s_i)`` over the negatives: ``[M, P]``, 0 in empty slots."""

    @abstractmethod
    def sum_over_positives(self, scores: Tensor, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(s_j - s_i)`` over the positives for each negative j: ``[M, N]``."""


class _Pairs:
    """Few positives against negatives: all pairs are compared, in blocks of fixed size, and none twice."""

    def __init__(self, positives: _Positives, delta: float) -> None:
        self._s, self._present, self._delta = positives.scores, positives.present, delta

    def sums(self, scores: Tensor, negative: Tensor, push: _Push | None) -> tuple[Tensor, Tensor]:
        """As for :class:`_Between`."""
        scores = scores.where(negative, float("-inf"))  # what is no negative stands above nothing
        width, length = self._s.shape[1], scores.shape[1]
        height = max(1, min(len(scores), _PAIRS // max(1, width * length)))
        block = scores.new_empty(height, width, length)
        scale = 2 * self._delta if self._delta > 0 else 1.0
        sums = []
        for first in range(0, len(scores), height):
            rows = slice(first, first + height)
            s, s_i = scores[rows, None, :], self._s[rows, :, None]
            above = torch.sub(s, s_i, out=block[: len(s)])
            if self._delta > 0:
                above.clamp_(-self._delta, self._delta).add_(self._delta)  # 2 delta H
            else:
                above.ge_(0)
            false_positives = (above.sum(dim=2) / scale).where(self._present[rows], 0)
            pushed = scores.new_zeros(0)
            if push is not None:
                pushed = torch.bmm(push(false_positives, rows)[:, None, :] / scale, above).squeeze(1)
            sums.append((false_positives, pushed))
        return torch.cat([each[0] for each in sums]), torch.cat([each[1] for each in sums])


class _Segments(_Between):
    """The pieces on which everything between positives and negatives is linear.

    As a function of a negative's score, H is 0 below the knot ``s_i - delta`` of positive i, 1 above its knot
    ``s_i + delta``, linear between. The 2P knots of a row cut its scores into 2P + 1 segments, and one binary
    search places each score. Sums over the negatives then need no more than the number and the sum of the
    scores in each segment, sums over the positives no more than an offset and a slope: prefix sums along the
    segments both.
    """

    def __init__(self, scores: Tensor, positives: _Positives, delta: float) -> None:
        self._s, present, self._delta = positives.scores.double(), positives.present, delta
        knots = torch.cat([positives.scores - delta, positives.scores + delta], dim=1)
        knots, order = knots.where(present.repeat(1, 2), float("inf")).sort(dim=1)
        places = torch.empty_like(order)
        places.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
        self._present, self._lower, self._upper = present, *places.chunk(2, dim=1)
        # Number of knots at or below each score: it lies above the knot in place p if this is above p.
        self._segment = torch.searchsorted(knots, scores.contiguous(), right=True)

    def sum_over_negatives(self, scores: Tensor, negative: Tensor) -> Tensor:
        """Return ``N_FP(i) = sum_j H(s_j - s_i)`` over the negatives: float64 ``[M, P]``."""
        shape = (len(scores), 2 * self._s.shape[1] + 1)
        number = torch.zeros(shape, dtype=torch.float64, device=scores.device)
        number.scatter_add_(1, self._segment, negative.double())
        # What is below all knots stands above nothing. Left out, it takes no digits from the sums either,
        # however far below it is: masked scores are often the lowest number there is.
        number[:, 0] = 0
        number = number.cumsum(dim=1)
        below_upper = number.gather(1, self._upper)
        above = number[:, -1:] - below_upper
        if self._delta > 0:
            total = torch.zeros(shape, dtype=torch.float64, device=scores.device)
            total.scatter_add_(1, self._segment, scores.double().where(negative, 0))
            total[:, 0] = 0
            total = total.cumsum(dim=1)
            between = below_upper - number.gather(1, self._lower)
            total_between = total.gather(1, self._upper) - total.gather(1, self._lower)
            above = above + 0.5 * between + (total_between - between * self._s) / (2 * self._delta)
        return above.clamp_min(0).where(self._present, 0)

    def sum_over_positives(self, scores: Tensor, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(s_j - s_i)`` over the positives for each element j: float64 ``[M, N]``."""
        shape = (len(scores), 2 * self._s.shape[1] + 1)
        offset = torch.zeros(shape, dtype=torch.float64, device=scores.device)
        if self._delta == 0:
            return offset.scatter_add_(1, self._upper + 1, coefficient).cumsum(dim=1).gather(1, self._segment)
        slope = torch.zeros_like(offset)
        rate = coefficient / (2 * self._delta)
        start = 0.5 * coefficient - rate * self._s
        slope = (
            slope.scatter_add_(1, self._lower + 1, rate).scatter_add_(1, self._upper + 1, -rate).cumsum(dim=1)
        )
        offset.scatter_add_(1, self._lower + 1, start).scatter_add_(1, self._upper + 1, coefficient - start)
        offset = offset.cumsum(dim=1)
        # Above all knots it is flat, where rounding would leave a trace of a slope.
        last = 2 * self._present.sum(dim=1, keepdim=True)
        slope.scatter_(1, last, 0)
        offset.scatter_(1, last, coefficient.sum(dim=1, keepdim=True))
        return offset.gather(1, self._segment).addcmul_(slope.gather(1, self._segment), scores.double())


class _Buckets(_Between):
    """Positives against buckets: the negatives between two neighbouring positives, at their mean score."""

    def __init__(self, scores: Tensor, positives: _Positives, delta: float) -> None:
        self._s, self._present, self._delta = positives.scores.double(), positives.present, delta
        knots = positives.scores.where(self._present, float("inf")).sort(dim=1).values
        # A negative level with a positive stands above it, as H(0) says for delta = 0.
        self._bucket = torch.searchsorted(knots, scores.contiguous(), right=True)
        self._lowest = knots[:, :1] - delta
        self._step = torch.empty(0)

    def sum_over_negatives(self, scores: Tensor, negative: Tensor) -> Tensor:
        """Return ``N_FP(i) = sum_b n_b H(mean_b - s_i)``: float64 ``[M, P]``."""
        relevant = (negative & (scores >= self._lowest)).double()
        shape = (len(scores), self._s.shape[1] + 1)
        number, total = (
            torch.zeros(shape, dtype=torch.float64, device=scores.device).scatter_add_(1, self._bucket, each)
            for each in (relevant, relevant * scores)
        )
        mean = total / number.clamp_min(1)
        self._relevant = relevant
        self._step = _step(mean[:, :, None] - self._s[:, None, :], self._delta)
        return (number[:, None, :] @ self._step).squeeze(1).where(self._present, 0)

    def sum_over_positives(self, scores: Tensor, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(mean_b - s_i)`` for the bucket of each negative: float64 ``[M, N]``."""
        pushed = (self._step @ coefficient[:, :, None]).squeeze(2)
        return pushed.gather(1, self._bucket) * self._relevant


def _triton() -> Callable[[Tensor, Tensor, Tensor | None, float], tuple[Tensor, Tensor]]:
    try:
        from rspose.losses.rank_sort.triton_kernels import rank_sort_triton
    except ImportError as error:
        raise ImportError(f"rank_sort: implementation 'triton' needs Triton: {error}") from error
    return rank_sort_triton


def _between(
    implementation: str, scores: Tensor, positives: _Positives, delta: float
) -> _Pairs | _Segments | _Buckets:
    if implementation == "bucketed":
        return _Buckets(scores, positives, delta)
    width = positives.scores.shape[1]
    if width <= _FEW and width * scores.shape[1] <= _PAIRS:
        return _Pairs(positives, delta)
    return _Segments(scores, positives, delta)
