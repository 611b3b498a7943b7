"""Operations for which a GPU would have to be waited, counted on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rspose.losses.rank_sort import operator

ASKING = (
    *("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique"),
    "_linalg_check_errors",
)


class Transfers(TorchDispatchMode):
    """Counts the operations whose result, or its shape, a GPU would have to be waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.found: list[str] = []
        to_list = Tensor.tolist
        monkeypatch.setattr(Tensor, "tolist", lambda each: self.found.append("tolist") or to_list(each))

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        boolean = any(index is not None and index.dtype == torch.bool for index in indices)
        if boolean or name.removesuffix("_").startswith(ASKING):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def comparing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out the comparison of pairs, which on a GPU is Triton's, whose kernels ask nothing."""

    def compare(scores: Tensor, *_: Any) -> tuple[Any, ...]:
        return *scores.new_zeros(2, len(scores)), *scores.new_zeros(2, *scores.shape), None

    with monkeypatch.context() as patch:
        patch.setattr(operator, "_compare", compare)
        yield
