"""Train a small network with RSPose on tensors of one's own: torch and the losses, nothing else.

    pip install ".[losses]"                # in the folder of the repository; needs nothing but torch
    python examples/train_with_rspose.py

The tensors here are made up: images of three coloured dots, each colour a keypoint. Put your own in
``load_batch``; all the rest stays. The same loop trains any loss that localises in 2D: give its name.
"""

import argparse

import torch
from torch import Tensor, nn

from rspose.losses import HeatmapLoss, KeypointTarget, available, build

WIDTH, HEIGHT = 32, 32  # of the heatmaps, in pixels
KEYPOINTS = 3
SIGMA = 1.5  # of the Gaussian labels, in heatmap pixels


def load_batch(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return images ``[B, 3, H, W]``, keypoints ``[B, K, 2]`` in heatmap pixels, visibility ``[B, K]``."""
    corner = torch.tensor([WIDTH - 1.0, HEIGHT - 1.0])
    keypoints = (0.1 + 0.8 * torch.rand(size, KEYPOINTS, 2, generator=generator)) * corner
    visible = (torch.rand(size, KEYPOINTS, generator=generator) > 0.1).float()
    dots = gaussians(keypoints, 1.0) * visible[:, :, None, None]
    noise = 0.3 * torch.randn(size, KEYPOINTS, HEIGHT, WIDTH, generator=generator)
    return dots + noise, keypoints, visible


def gaussians(keypoints: Tensor, sigma: float) -> Tensor:
    """Return Gaussian labels, 1 at the keypoint itself, ``[B, K, H, W]``."""
    x = torch.arange(WIDTH) - keypoints[..., 0, None]
    y = torch.arange(HEIGHT) - keypoints[..., 1, None]
    return torch.exp(-(y[..., :, None] ** 2 + x[..., None, :] ** 2) / (2 * sigma**2))


def target_of(keypoints: Tensor, visible: Tensor) -> KeypointTarget:
    """Gather what a loss may need to know. Losses that do not need all of it ignore the rest."""
    return KeypointTarget.from_keypoints(
        keypoints,
        (WIDTH, HEIGHT),
        SIGMA,
        sigmas=0.08,  # OKS sigmas, one for all
        areas=20**2,  # of the instances, in heatmap pixels squared
        visible=visible,  # 0 masks a keypoint
    )


@torch.no_grad()
def evaluate(network: nn.Module, loss: HeatmapLoss, generator: torch.Generator) -> tuple[float, float]:
    """Return the mean distance in pixels over visible keypoints, and their mean confidence."""
    images, keypoints, visible = load_batch(64, generator)
    heatmaps = loss.to_heatmaps(network(images), sigma=(SIGMA, SIGMA))  # decode and score on these
    confidence, place = heatmaps.flatten(2).max(dim=-1)
    found = torch.stack([place % WIDTH, place // WIDTH], dim=-1)
    distance = (found - keypoints).norm(dim=-1)
    seen = visible > 0
    return distance[seen].mean().item(), confidence[seen].clamp(0, 1).mean().item()


def main() -> None:
    """Train, and print how far the keypoints are off."""
    parser = argparse.ArgumentParser(description="Train a small network with a loss of RSPose Bench.")
    losses = [name for name, loss in available().items() if loss.localises and "heatmap" in loss.heads]
    parser.add_argument("--loss", default="rspose", choices=losses)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(KEYPOINTS, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, KEYPOINTS, 1),
    )
    loss = build(arguments.loss, {}, num_keypoints=KEYPOINTS)
    # A loss may have weights of its own (KAL and FoWKAL do): the optimizer gets them too.
    optimizer = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=3e-3)
    for step in range(arguments.steps):
        images, keypoints, visible = load_batch(16, generator)
        terms = loss(network(images), target_of(keypoints, visible))
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if step % 50 == 0 or step == arguments.steps - 1:
            named = ", ".join(f"{term} {value.item():.4f}" for term, value in terms.items())
            distance, confidence = evaluate(network, loss, torch.Generator().manual_seed(1))
            print(f"step {step}: {named} | {distance:.2f} pixels off, confidence {confidence:.2f}")


if __name__ == "__main__":
    main()
