from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from vlmad_core.errors import MethodError
from vlmad_core.methods import MapRule, Predictions, anomaly_maps, map_maximum
from vlmad_core.methods.predictions import _smoothing, one_map


def grids(count=2, layers=3, rows=4, columns=5):
    return torch.randn(count, layers, rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("combine", ["sum", "mean"])
def test_each_grid_is_enlarged_then_activated_then_combined(align, combine):
    rule = MapRule(("sigmoid", "none", "sigmoid"), align_corners=align, combine=combine)
    large = F.interpolate(grids(), size=(9, 13), mode="bilinear", align_corners=align)
    layers = [large[:, 0].sigmoid(), large[:, 1], large[:, 2].sigmoid()]
    expected = sum(layers) if combine == "sum" else sum(layers) / 3
    torch.testing.assert_close(anomaly_maps(grids(), rule, (9, 13)), expected)


def test_sigmoid_and_enlarging_do_not_commute():
    rule = MapRule(("sigmoid",))
    after = anomaly_maps(5 * grids(layers=1), rule, (16, 16))
    before = anomaly_maps((5 * grids(layers=1)).sigmoid(), MapRule(), (16, 16))
    assert (after - before).abs().max() > 0.05


def test_gaussian_is_scipys_per_image_and_scales_with_the_map():
    rule = MapRule(gaussian_sigma=4.0, gaussian_size=32)
    plain = anomaly_maps(grids(layers=1), MapRule(), (32, 32))
    smooth = anomaly_maps(grids(layers=1), rule, (32, 32))
    torch.testing.assert_close(smooth[1], torch.from_numpy(gaussian_filter(plain[1].numpy(), sigma=4.0)))
    half = anomaly_maps(grids(layers=1), rule, (16, 16))
    plain_half = anomaly_maps(grids(layers=1), MapRule(), (16, 16))
    torch.testing.assert_close(half[0], torch.from_numpy(gaussian_filter(plain_half[0].numpy(), sigma=2.0)))


def test_rule_survives_json():
    rule = MapRule(("sigmoid", "none"), align_corners=True, combine="sum", gaussian_sigma=4.0, gaussian_size=518)
    assert MapRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_map_maximum_is_that_of_the_maps():
    rule = MapRule(("sigmoid",) * 3, align_corners=True, combine="sum")
    many = grids(count=19)
    assert torch.equal(map_maximum(many, rule, (11, 11)), anomaly_maps(many, rule, (11, 11)).flatten(1).amax(dim=1))


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("combine", ["sum", "mean"])
@pytest.mark.parametrize("activations", [("none",), ("none", "none", "none"), ("sigmoid", "none", "sigmoid")])
@pytest.mark.parametrize("size", [(256, 256), (30, 17), (5, 4), (1, 1)])
def test_a_map_without_torch_is_the_same(align, combine, activations, size):
    rule = MapRule(activations, align_corners=align, combine=combine, gaussian_sigma=4.0, gaussian_size=64)
    for smoothed in (rule, replace(rule, gaussian_sigma=0.0)):
        some = grids(count=1, layers=len(activations), rows=15, columns=14)
        expected = anomaly_maps(some, smoothed, size)[0].numpy()
        found = one_map(some[0].numpy(), smoothed, size)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


def test_rule_must_fit_the_grids():
    with pytest.raises(MethodError, match="rule for 1 grids"):
        anomaly_maps(grids(), MapRule(), (8, 8))
    with pytest.raises(MethodError, match="rule for 1 grids"):
        one_map(grids()[0].numpy(), MapRule(), (8, 8))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(MethodError, match="not finite"):
        Predictions(torch.tensor([0.1, bad])).on_cpu()
    with pytest.raises(MethodError, match="not finite"):
        Predictions(torch.tensor([0.1]), torch.full((1, 1, 2, 2), bad), MapRule()).on_cpu()


def test_grids_and_rule_go_together():
    with pytest.raises(MethodError, match="go together"):
        Predictions(torch.zeros(1), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("sigma", [0.7, 4.0, 9.0])
def test_the_filter_of_devices_is_scipys(sigma):
    images = torch.rand(2, 21, 34, generator=torch.Generator().manual_seed(0))
    down, across = (_smoothing(side, sigma, torch.device("cpu")) for side in images.shape[1:])
    expected = torch.from_numpy(gaussian_filter(images.numpy(), sigma=[0.0, sigma, sigma]))
    torch.testing.assert_close(down @ images @ across.T, expected, atol=1e-6, rtol=0)
