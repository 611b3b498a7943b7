"""Files of weights load whole or not at all, and none of them runs code."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.training import RunsCode
from safetensors.torch import save_file
from torch import nn

from rspose.training.weights import Loaded, load_whole, read_checkpoint, read_weights, sha256_of_weights


class Network(nn.Module):
    def __init__(self, width: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))


@pytest.fixture
def source() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return Network().state_dict()


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"epoch": 3}},
        lambda state: {"model": state, "optimizer": {"state": {}}},
        lambda state: (
            {f"backbone.{name}": value for name, value in state.items()} | {"head.w": torch.zeros(2)}
        ),
        lambda state: {"state_dict": {f"module.backbone.{name}": value for name, value in state.items()}},
    ],
    ids=["plain", "state_dict", "model", "a whole pose model", "of several GPUs"],
)
def test_weights_are_found_under_the_names_that_files_have(
    wrapped: Any, source: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    network = Network()
    loaded = load_whole(network, saved(tmp_path / "weights.pth", wrapped(source)))
    assert loaded.matched == len(source)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, source[name], rtol=0, atol=0)


def test_safetensors_are_read(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(source, tmp_path / "weights.safetensors")
    assert load_whole(Network(), tmp_path / "weights.safetensors").matched == len(source)


def test_what_the_network_has_no_module_for_is_left_out_and_said(
    source: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    more = {"fc.weight": torch.zeros(5, 4), "fc.bias": torch.zeros(5), "classifier.w": torch.zeros(1)}
    loaded = load_whole(Network(), saved(tmp_path / "weights.pth", source | more))
    assert loaded == Loaded("weights.pth", matched=len(source), left_out=("fc", "classifier"))


def test_counters_of_batches_may_be_missing(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    old = {name: value for name, value in source.items() if not name.endswith("num_batches_tracked")}
    assert load_whole(Network(), saved(tmp_path / "weights.pth", old)).matched == len(old)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (
            Network(width=8),
            r"stem.0.weight of shape \(8, 3, 3, 3\) for \(4, 3, 3, 3\) and \d+ more differences",
        ),
        (Network(layers=1), r"no layers.1.weight and 1 more"),
        # Every name of the smaller network is in the larger one, with its shape.
        (Network(layers=3), r"layers.2.weight, which this network lacks"),
        (nn.Linear(2, 2), r"no stem.0.weight"),
    ],
    ids=["wider", "shallower", "deeper", "another"],
)
def test_weights_of_another_network_are_refused_and_nothing_is_loaded(
    other: nn.Module, found: str, tmp_path: Path
) -> None:
    network = Network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    path = saved(tmp_path / "other.pth", other.state_dict())
    with pytest.raises(
        ValueError, match=rf"^{path}: expected the \d+ tensors of this Network, found {found}"
    ):
        load_whole(network, path)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_hash_of_weights_is_of_their_values(source: dict[str, torch.Tensor], tmp_path: Path) -> None:
    first = sha256_of_weights(saved(tmp_path / "first.pth", {"state_dict": source}))
    assert sha256_of_weights(saved(tmp_path / "more.pth", {"epoch": 3, "state_dict": source})) == first
    source["stem.0.bias"][0] += 1e-3
    assert sha256_of_weights(saved(tmp_path / "changed.pth", {"state_dict": source})) != first


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_file_that_holds_code_is_refused_and_runs_none(writer: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "ran"
    content = {"state_dict": {"a": torch.zeros(1)}, "more": RunsCode(mark)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=rf"^{path}: expected a file of weights alone.*broken or holds code"):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "broken or holds code"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"PK\x03\x04 half of an archive", "broken or holds code"),
    ],
    ids=["empty", "page", "half"],
)
def test_a_broken_file_is_named_in_one_line(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}: expected a file of weights alone, .*{found}") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "expected tensors by name, found list"),
        ({"a": 1.5}, "a: expected a tensor, found float"),
        ({"a": torch.tensor([1.0, float("nan")])}, "a: expected finite numbers, found NaN or infinity"),
    ],
)
def test_other_things_than_weights_are_named(content: Any, said: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", content)
    with pytest.raises(ValueError, match=f"^{path}: {said}"):
        read_weights(path)
