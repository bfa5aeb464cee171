"""Losses on anomaly maps as APRIL-GAN and AnomalyCLIP take them, for two classes as one probability."""

from __future__ import annotations

from torch import Tensor

FOCAL_SMOOTHING = 1e-5
DICE_SMOOTHING = 1.0


def focal_loss(abnormal: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017) in the form of the authors' codes, mean over all pixels.

    The target is smoothed to [1e-5, 1 - 1e-5] and the probability of the true class raised by 1e-5, so that its
    logarithm is finite and it stays at most 1.

    Args:
        abnormal: Probability of abnormal, [N, H, W], in [0, 1]; that of normal is the rest.
        mask: True where abnormal, [N, H, W].
        gamma: How much well-classified pixels are played down.

    Returns:
        A scalar.
    """
    target = mask.to(abnormal.dtype).clamp(FOCAL_SMOOTHING, 1.0 - FOCAL_SMOOTHING)
    true_class = target * abnormal + (1.0 - target) * (1.0 - abnormal) + FOCAL_SMOOTHING
    return (-((1.0 - true_class) ** gamma) * true_class.log()).mean()


def dice_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """Dice loss (Milletari et al., 3DV 2016) per image, then the mean over images.

    The authors' code loses the image axis in a last batch of one image and takes the rows of that image for
    images; here an image is an image in any batch.

    Args:
        probability: Of the class ``mask`` marks, [N, H, W], in [0, 1].
        mask: [N, H, W].

    Returns:
        A scalar in [0, 1].
    """
    target = mask.to(probability.dtype).flatten(1)
    found = probability.flatten(1)
    overlap = (found * target).sum(dim=1)
    size = found.sum(dim=1) + target.sum(dim=1)
    return (1.0 - (2.0 * overlap + DICE_SMOOTHING) / (size + DICE_SMOOTHING)).mean()
