"""Device, precision and batch size settled by measurement; what is measured is made up here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from vlmad_core.backbones import ClipBackbone, FeatureRequest, settling
from vlmad_core.backbones.info import MAX_BATCH, BackboneInfo, default_batch_size
from vlmad_core.backbones.loading import BackboneSpec, load_backbone
from vlmad_core.backbones.settling import Settled, made_up_images, out_of_memory, settle, settle_batch_size
from vlmad_core.errors import BackboneError

CUDA = torch.device("cuda", 0)
ASKED = BackboneSpec("made up", precision="auto")


@dataclass
class Machine:
    """Hardware that takes so many seconds for a pass, and rounds so much, in each precision."""

    backbone: ClipBackbone
    seconds: dict[str, float]
    products: dict[str, float]
    noise: dict[str, float] = field(default_factory=dict)
    device: torch.device = CUDA
    now: float = 0.0
    loaded: list[str] = field(default_factory=list)
    passes: int = 0

    def load(self, spec: BackboneSpec) -> Any:
        """A backbone in the spec's precision."""
        self.loaded.append(spec.precision)
        inner, machine, precision = self.backbone, self, spec.precision

        def encode_images(pixels: Any, request: FeatureRequest) -> Any:
            machine.passes += 1
            machine.now += machine.seconds[precision]
            found = inner.encode_images(pixels, request)
            return SimpleNamespace(
                image_embedding=found.image_embedding + machine.noise.get(precision, 0.0),
                patch_embeddings=found.patch_embeddings,
            )

        return SimpleNamespace(
            info=replace(inner.info, precision=precision),
            device=self.device,
            model=inner.model,
            preprocess=inner.preprocess,
            encode_text=inner.encode_text,
            encode_images=encode_images,
        )


@pytest.fixture
def machine(backbone: ClipBackbone, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    def make(seconds: dict[str, float], products: dict[str, float], **more: Any) -> Machine:
        made = Machine(backbone, seconds, products, **more)
        monkeypatch.setattr(settling, "resolve_device", lambda name: made.device)
        monkeypatch.setattr(settling, "product_gain", lambda precision, seconds, device: made.products[precision])
        monkeypatch.setattr(settling, "time", SimpleNamespace(perf_counter=lambda: made.now))
        monkeypatch.setattr(settling, "wait", lambda device: None)
        return made

    return make


def test_auto_takes_what_a_pass_is_quickest_in(machine):
    quick = machine({"float32": 0.9, "bfloat16": 0.3, "float16": 0.2}, {"bfloat16": 3.0, "float16": 3.1})
    settled = settle(ASKED, quick.load)
    assert settled.backbone.info.precision == settled.spec.precision == "float16"
    assert settled.reasons["precision"] == (
        "bfloat16: 3 times float32 in the product, 3 times in a pass, scores within 0; "
        "float16: 3.1 times float32 in the product, 4.5 times in a pass, scores within 0"
    )
    assert settled.text().startswith("precision float16 (bfloat16: 3 times")


def test_hardware_without_a_precision_is_not_asked_for_a_pass(machine):
    slow = machine({"float32": 0.9}, {"bfloat16": 0.007}, device=torch.device("cpu"))
    settled = settle(ASKED, slow.load)
    assert settled.spec.precision == "float32"
    assert settled.reasons["precision"] == "bfloat16: 0.007 times float32 in the product"
    assert (slow.loaded, slow.passes) == (["float32"], 0)


@pytest.mark.parametrize("noise", [0.3, float("nan")])
def test_scores_beyond_the_tolerance_are_refused(machine, noise):
    rough = machine(
        {"float32": 0.9, "bfloat16": 0.3, "float16": 0.1},
        {"bfloat16": 3.0, "float16": 9.0},
        noise={"bfloat16": 1e-5, "float16": noise},
    )
    settled = settle(ASKED, rough.load)
    assert settled.spec.precision == "bfloat16"
    assert settled.reasons["precision"].endswith("where 0.01 is allowed")


def test_what_wins_in_the_product_only_is_not_taken(machine):
    settled = settle(
        ASKED, machine({"float32": 0.9, "bfloat16": 0.88}, {"bfloat16": 2.0}, device=torch.device("cpu")).load
    )
    assert settled.spec.precision == "float32"
    assert "1 times in a pass" in settled.reasons["precision"]


def test_what_was_settled_before_is_used_whatever_would_be_measured_now(machine):
    slow = machine({}, {"bfloat16": 0.007, "float16": 0.1})
    met: list[tuple[BackboneInfo, str]] = []

    def before(info: BackboneInfo, device: str) -> Any:
        met.append((info, device))
        return "bfloat16", "as it was said then"

    settled = settle(ASKED, slow.load, before=before)
    assert (settled.spec.precision, settled.reasons) == ("bfloat16", {"precision": "as it was said then"})
    assert [(info.precision, device) for info, device in met] == [("float32", "cuda")]
    assert slow.passes == 0


def test_what_is_named_is_loaded_and_nothing_is_measured(machine):
    named = machine({}, {})
    settled = settle(replace(ASKED, precision="float16"), named.load)
    assert (settled.spec.precision, settled.text(), named.passes) == ("float16", "", 0)


def test_the_device_is_named_with_how_it_was_found(machine):
    settled = settle(replace(ASKED, precision="float32", device="auto"), machine({}, {}).load)
    assert settled.spec.device == "cuda:0"
    assert settled.text() == "device cuda:0 (the accelerator torch finds)"


def test_without_a_tokenizer_scores_cannot_be_compared(machine, monkeypatch):
    made = machine({"float32": 0.9}, {"bfloat16": 3.0}, device=torch.device("cpu"))

    def missing(prompts: Any) -> Any:
        raise BackboneError("There is no tokenizer.", "Fetch one.")

    def load(spec: BackboneSpec) -> Any:
        loaded = made.load(spec)
        loaded.encode_text = missing
        return loaded

    settled = settle(ASKED, load)
    assert settled.spec.precision == "float32"
    assert "There is no tokenizer" in settled.reasons["precision"]


def test_images_too_small_for_the_tower_leave_it_in_float32(machine):
    made = machine({"float32": 0.9}, {"bfloat16": 3.0}, device=torch.device("cpu"))
    settled = settle(ASKED, made.load, lambda: [Image.new("RGB", (2, 2))])
    assert settled.spec.precision == "float32"
    assert "smaller than a patch" in settled.reasons["precision"]


def test_the_real_tower_is_timed_and_compared(tiny_clip, monkeypatch):
    monkeypatch.setattr(settling, "product_gain", lambda *given: 2.0)
    settled = settle(BackboneSpec(str(tiny_clip), precision="auto"))
    assert isinstance(settled, Settled)
    assert settled.spec.precision == settled.backbone.info.precision
    assert "times in a pass, scores within" in settled.reasons["precision"]


def test_float16_is_for_cards(tiny_clip):
    with pytest.raises(BackboneError, match=r"float16 is computed on graphics cards only, and the device is cpu\. "):
        load_backbone(str(tiny_clip), precision="float16")
    with pytest.raises(BackboneError, match="not settled"):
        BackboneSpec(str(tiny_clip), precision="auto").load()


def test_made_up_images_are_the_same_on_every_call_and_unlike_one_another():
    first, again = made_up_images(), made_up_images()
    assert [one.tobytes() for one in first] == [one.tobytes() for one in again]
    assert len({one.tobytes() for one in first}) == settling.CALIBRATION_IMAGES


class Card:
    """A card that holds so many images at once."""

    def __init__(self, info: BackboneInfo, holds: int, error: Exception, device: torch.device = CUDA) -> None:
        self.info, self.device, self._holds, self._error = info, device, holds, error
        self.tried: list[int] = []

    def encode_images(self, pixels: Any, request: FeatureRequest) -> None:
        """A pass, if it fits."""
        self.tried.append(len(pixels))
        if len(pixels) > self._holds:
            raise self._error


FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def make(count: int) -> None:
        monkeypatch.setattr(settling, "free_bytes", lambda device: count)
        monkeypatch.setattr(settling, "wait", lambda device: None)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    return make


@pytest.mark.parametrize(
    ("error", "holds", "tried"),
    [(FULL, 99, [32]), (FULL, 9, [32, 16, 8]), (RuntimeError("not enough memory: you tried"), 16, [32, 16])],
)
def test_a_batch_is_halved_until_a_pass_fits(backbone, free, error, holds, tried):
    free(2**40)
    card: Any = Card(backbone.info, holds, error)
    size, reason = settle_batch_size(card, FeatureRequest(image_embedding=True))
    assert (card.tried, size) == (tried, tried[-1])
    assert reason == "tried in a pass on cuda:0" + "".join(f", {other} did not fit" for other in tried[-2:-1])


def test_a_batch_begins_with_what_the_free_memory_holds_or_what_was_settled_before(backbone, free):
    request = FeatureRequest(stages={1, 2})
    each = settling.activation_bytes(backbone.info) + request.bytes_per_image(backbone.info)
    free(2 * 5 * each)
    card: Any = Card(backbone.info, 99, FULL)
    assert settle_batch_size(card, request)[0] == 5
    assert settle_batch_size(card, request, known=(12, "said before")) == (12, "said before")
    assert MAX_BATCH == 32


def test_not_even_one_image_fits(backbone, free):
    free(2**40)
    card: Any = Card(backbone.info, 0, FULL)
    with pytest.raises(BackboneError, match="does not hold one image of tiny_clip at 32 pixels"):
        settle_batch_size(card, FeatureRequest(image_embedding=True))


def test_other_failures_of_the_pass_are_not_taken_for_full_memory(backbone, free):
    free(2**40)
    card: Any = Card(backbone.info, 1, RuntimeError("an illegal instruction"))
    with pytest.raises(RuntimeError, match="illegal"):
        settle_batch_size(card, FeatureRequest(image_embedding=True))


def test_on_the_cpu_the_batch_is_the_backbones_own_unless_memory_is_nearly_full(backbone, free):
    request = FeatureRequest(image_embedding=True)
    each = settling.activation_bytes(backbone.info) + request.bytes_per_image(backbone.info)
    here: Any = Card(backbone.info, 0, FULL, torch.device("cpu"))
    free(2**40)
    assert settle_batch_size(here, request) == (default_batch_size(backbone.info), None)
    free(2 * 3 * each)
    assert settle_batch_size(here, request) == (3, "the memory left holds no more than 3 images")
    free(2**40)
    assert settle_batch_size(here, request, known=(2, "said before")) == (2, "said before")
    assert here.tried == []


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL, True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, full):
    assert out_of_memory(error) is full
