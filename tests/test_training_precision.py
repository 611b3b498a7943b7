"""A CPU that has to emulate bfloat16 is told so once; initial weights follow the config's precision."""

import pytest

from rspose.training import precision


@pytest.mark.parametrize(
    ("slowness", "line"),
    [
        (0.7, None),
        (
            15.8,
            "this CPU computes bfloat16, training.precision, 16 times as slowly as float32: "
            "`--config training='{precision: float32}'` trains sooner, to slightly other numbers",
        ),
    ],
)
def test_only_a_cpu_that_is_slow_is_told(
    slowness: float, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_slowness", lambda: slowness)
    assert precision.slow_precision() == line


def test_slowness_is_a_ratio_of_times() -> None:
    assert 0.05 < precision.bfloat16_slowness() < 500
