from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from vlmad_core.errors import MethodError
from vlmad_core.methods.trained import TrainingRecord, read_record
from vlmad_core.training.loop import Optimisation, Progress, fit, load_progress, save_parameters, save_progress, start


class Line:
    """Least squares over ten points, with noise drawn in training."""

    def __init__(self):
        self.x = torch.linspace(-1, 1, 10)
        self.batches = []

    def __len__(self):
        return 10

    def initial(self, generator):
        return {"slope": torch.randn(1, generator=generator), "offset.value": torch.randn(1, generator=generator)}

    def loss(self, parameters, images, random):
        self.batches.append(images.tolist())
        noise = torch.from_numpy(random.normal(0, 0.01, len(images)))
        target = 2 * self.x[images] + 1 + noise
        return ((parameters["slope"] * self.x[images] + parameters["offset.value"] - target) ** 2).mean()


PLAN = Optimisation(epochs=6, batch_size=4, learning_rate=0.1, seed=7)


def equal(first: Progress, second: Progress) -> bool:
    return first.losses == second.losses and all(
        torch.equal(tensor, second.parameters[name]) for name, tensor in first.parameters.items()
    )


def test_learns_and_is_deterministic():
    done = fit(Line(), PLAN, start(Line(), PLAN))
    assert len(done.losses) == 6
    assert done.losses[-1] < 0.3 * done.losses[0]
    assert equal(done, fit(Line(), PLAN, start(Line(), PLAN)))
    other = replace(PLAN, seed=8)
    assert not equal(done, fit(Line(), other, start(Line(), other)))


def test_every_image_is_seen_once_an_epoch_in_another_order():
    line = Line()
    fit(line, PLAN, start(line, PLAN))
    epochs = [[image for batch in line.batches[i : i + 3] for image in batch] for i in range(0, 18, 3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_adam_is_pytorchs():
    line = Line()
    first = start(line, PLAN)
    done = fit(line, replace(PLAN, epochs=1), first)
    assert set(done.optimiser) == {
        f"{name}.{key}" for name in ("slope", "offset.value") for key in ("step", "exp_avg", "exp_avg_sq")
    }
    # Adam's first step has the size of the learning rate, whatever the gradient.
    assert done.optimiser["slope.step"] == 3


@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, killed_after):
    undisturbed = fit(Line(), PLAN, start(Line(), PLAN))
    path = tmp_path / "state.unfinished"

    def save_then_die(progress):
        save_progress(path, progress, "plan")
        if len(progress.losses) == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Line(), PLAN, start(Line(), PLAN), save_then_die)
    state = load_progress(path, "plan")
    assert len(state.losses) == killed_after
    assert equal(fit(Line(), PLAN, state), undisturbed)


def test_state_of_another_plan_is_refused(tmp_path):
    path = tmp_path / "state.unfinished"
    assert load_progress(path, "plan") is None
    save_progress(path, start(Line(), PLAN), "plan")
    with pytest.raises(MethodError, match="other data, backbone or settings"):
        load_progress(path, "other")
    path.write_bytes(b"half")
    with pytest.raises(MethodError, match="can't be resumed from"):
        load_progress(path, "plan")


def test_a_damaged_state_is_not_resumed_from(tmp_path):
    path = tmp_path / "state.unfinished"
    save_progress(path, start(Line(), PLAN), "plan")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(MethodError, match=r"can't be resumed from|other data, backbone or settings"):
            load_progress(path, "plan")


def test_parameters_are_written_with_their_hash_and_finite_only(tmp_path):
    path, record = tmp_path / "method" / "data.safetensors", TrainingRecord("method", ("data",), None)
    save_parameters(path, {"slope": torch.ones(1)}, record)
    written = read_record(path.with_suffix(".json")).sha256
    assert written == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(MethodError, match=r"data.safetensors holds a tensor 'slope'"):
        save_parameters(path, {"slope": torch.full((1,), torch.nan)}, record)
    assert read_record(path.with_suffix(".json")).sha256 == written


def test_what_diverges_stops():
    class Broken(Line):
        def loss(self, parameters, images, random):
            return parameters["slope"].sum() * float("nan")

    with pytest.raises(MethodError, match=r"epoch 1.*--lr"):
        fit(Broken(), PLAN, start(Line(), PLAN))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"epochs": 10**30},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_numbers_out_of_range(change):
    with pytest.raises(MethodError, match=next(iter(change))):
        Optimisation(**change)
