from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.backbones.info import OPENAI_MEAN, OPENAI_STD, Preprocessing


def test_values_computed_by_hand():
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 128)
    found = Preprocessing(2)(Image.fromarray(pixels))
    assert found.shape == (3, 2, 2)
    assert found.dtype == torch.float32
    assert float(found[0, 0, 0]) == pytest.approx((1.0 - 0.48145466) / 0.26862954, abs=1e-6)
    assert float(found[1, 0, 0]) == pytest.approx((0.0 - 0.4578275) / 0.26130258, abs=1e-6)
    assert float(found[2, 0, 0]) == pytest.approx((128 / 255 - 0.40821073) / 0.27577711, abs=1e-6)
    assert float(found[0, 1, 1]) == pytest.approx(-0.48145466 / 0.26862954, abs=1e-6)


def test_nothing_is_cropped_and_the_whole_image_is_squashed():
    wide = np.zeros((10, 40, 3), dtype=np.uint8)
    wide[:, 36:] = 255  # the right tenth
    found = Preprocessing(20)(Image.fromarray(wide))
    assert found.shape == (3, 20, 20)
    assert (found[0, :, -1] > 1.0).all()
    assert (found[0, :, 0] < -1.0).all()


def test_shrinking_smooths():
    """Pillow's bicubic filter averages: a fine chequerboard becomes grey; point sampling would not."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = Preprocessing(8)(Image.fromarray(np.stack([board] * 3, axis=-1)))
    grey = (127.5 / 255 - OPENAI_MEAN[0]) / OPENAI_STD[0]
    assert (found[0] - grey).abs().max() < 0.1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_any_mode_becomes_rgb(mode):
    image = Image.new("RGB", (9, 9), (200, 200, 200)).convert(mode)
    assert Preprocessing(4)(image).shape == (3, 4, 4)


def test_order_of_colours_is_red_first():
    found = Preprocessing(2)(Image.new("RGB", (4, 4), (255, 0, 0)))
    assert found[0].min() > 1 > found[2].max()


def test_batch_stacks(backbone):
    images = [Image.new("RGB", (40, 20)), Image.new("L", (9, 12), 255)]
    batch = backbone.preprocess_batch(images)
    assert batch.shape == (2, 3, 32, 32)
    assert torch.equal(batch[1], backbone.preprocess(images[1]))
