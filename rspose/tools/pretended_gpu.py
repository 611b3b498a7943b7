"""A GPU where there is none: tensors that compute on the CPU and refuse to meet one that is there."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_DEVICE = "meta"  # the only one that torch has everywhere and asks nothing of
_ACROSS = ("copy_", "index", "index_put", "index_put_")
"""Operations that take tensors of both: a copy, and indices on the CPU."""


class Apart(Exception):
    """A tensor on the GPU meets one on the CPU."""


class OnGPU(Tensor):
    """A tensor that is said to be on the GPU; ``there`` is what it holds."""

    there: Tensor

    def __new__(cls, there: Tensor) -> "OnGPU":
        """Wrap a tensor, without its gradients."""
        made: OnGPU = Tensor._make_wrapper_subclass(
            cls, there.size(), strides=there.stride(), dtype=there.dtype, device=torch.device(_DEVICE)
        )
        made.there = there.detach()
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # as torch documents it
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Transfer it to the host."""
        return self.there.tolist()


class _NewTensors(TorchDispatchMode):
    """What is made on the device of a tensor there is there too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def pretended_gpu() -> Iterator[None]:
    """In here, tensors of :class:`OnGPU` compute; others raise :class:`Apart` where they meet one of them."""
    nothing = mock.patch.object(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    with nothing, _NewTensors():  # autocast does not know the device
        yield


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = {id(each.there): each for each in tensors if isinstance(each, OnGPU)}
    name, device = func.overloadpacket.__name__, kwargs.get("device")
    for each in tensors if there and name not in _ACROSS else ():
        if not isinstance(each, OnGPU) and each.ndim:  # a number may come from the host
            raise Apart(f"{name} mixes a tensor on the GPU with one on the CPU, of shape {list(each.shape)}")
    on_gpu = bool(there) if device is None else torch.device(device).type == _DEVICE
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda each: each.there if isinstance(each, OnGPU) else each, (args, kwargs))

    def returned(value: Any) -> Any:
        if id(value) in there:  # in place
            return there[id(value)]
        return OnGPU(value) if on_gpu and isinstance(value, Tensor) else value

    return tree_map(returned, func(*args, **kwargs))
