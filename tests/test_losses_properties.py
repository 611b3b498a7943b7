"""What holds for any input."""

from builders.losses import every_loss_and_head
from builders.targets import make_target
from hypothesis import given, settings
from hypothesis import strategies as st

from rspose.losses import build
from rspose.tools.check_loss import KEYPOINTS, perfect, total
from rspose.tools.targets import with_noise


@every_loss_and_head
def test_no_noise_makes_a_perfect_prediction_better(name: str, head: str) -> None:
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    best = perfect(loss, target.heatmaps, head)
    least = total(loss, best, target)

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 2**31 - 1), scale=st.sampled_from([0.3, 1.0, 3.0]))
    def check(seed: int, scale: float) -> None:
        assert total(loss, with_noise(best, seed, scale), target) >= least

    check()
