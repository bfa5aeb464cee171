"""Ground-truth masks: which pixels are defective, whatever the file stores them as."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vlmad_core.datasets.images import DEFAULT_LIMITS, converted, open_checked
from vlmad_core.datasets.sample import Sample
from vlmad_core.errors import DatasetError
from vlmad_core.reading import printable

MASK_LIMITS = replace(DEFAULT_LIMITS, min_side=1)
"""As for images, but a mask may be as small as it likes: its image is what must be large enough."""


def read_mask(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask: a pixel is defective where any stored value is above zero.

    Values are compared before anything is scaled, since masks hold 0/1, 0/255 or small ids of defect types.
    Palette masks are looked up (their colours are what the annotator saw), transparent pixels are normal.

    Args:
        path: The mask, of any mode.
        size: Height and width of the image it belongs to; None accepts any.

    Returns:
        Boolean array of shape [height, width], true where defective.

    Raises:
        DatasetError: The file can't be read, holds values that are no numbers, or has another size than the image.
    """
    mask = to_mask(open_checked(path, MASK_LIMITS), str(path))
    if size is not None and mask.shape != tuple(size):
        raise DatasetError(
            f"{printable(path)}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, its image"
            f" {size[1]} x {size[0]}.",
            "Give the mask at the size of its image; it is not stretched, since that would move the truth.",
        )
    return mask


def to_mask(image: Image.Image, name: str) -> np.ndarray:
    """Binarise a decoded mask of any mode, shape [height, width].

    Args:
        image: The mask.
        name: What to call it in messages.

    Raises:
        DatasetError: If a value is NaN or infinite: it says neither normal nor defective; or if its colours can't be
            looked up.
    """
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
        raise DatasetError(
            f"{printable(name)}: a floating-point mask with values that are NaN or infinite.",
            "Save it with 0 where the part is normal and 1 where it is defective.",
        )
    if image.mode.startswith("I") or image.mode in ("1", "L", "F"):
        return np.asarray(image) > 0
    layers = np.asarray(converted(image, "RGBA", printable(name)))
    return (layers[..., :3].max(axis=-1) > 0) & (layers[..., 3] > 0)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a binary mask: Pillow's bilinear filter on 0/255, then above one half.

    This is what APRIL-GAN, AnomalyCLIP and AdaCLIP do once their masks are binary.

    Args:
        mask: Boolean array of shape [height, width].
        size: Height and width wanted.

    Returns:
        Boolean array of that shape.
    """
    if mask.shape == tuple(size):
        return mask.astype(bool)
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized) > 127


def sample_mask(sample: Sample, size: tuple[int, int]) -> np.ndarray | None:
    """The truth about a sample's pixels, or None where it is unknown.

    Args:
        sample: Its mask is read if it has one.
        size: Height and width of the sample's image as read.

    Returns:
        Boolean array of shape [height, width]: all false for a normal image, None for a defective image
        without a mask.

    Raises:
        DatasetError: As :func:`read_mask`, and if no pixel is marked though the image is defective.
    """
    if sample.label == 0:
        return np.zeros(size, dtype=bool)
    if sample.mask_path is None:
        return None
    mask = read_mask(sample.mask_path, size)
    if not mask.any():  # what is called defective and is nowhere would be measured as a defect that can't be found
        raise DatasetError(
            f"{printable(sample.mask_path)}: no pixel is marked, though its image is defective.",
            "Mark the defect, or remove the mask: pixel metrics then leave the image out.",
        )
    return mask
