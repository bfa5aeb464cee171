"""The contract every method keeps.

A method names the features it needs; given text and references it prepares a scorer for one category; the
scorer turns features into predictions. Nothing here touches an image or a backbone's weights, holds global
state, or changes a tensor it was given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vlmad_core.backbones.devices import to_host
from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo, PositionRule
from vlmad_core.backbones.tower import TextTower
from vlmad_core.cards import MethodCard, load_card
from vlmad_core.datasets.catalogue import NameTable
from vlmad_core.methods.predictions import Predictions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PublishedSetup:
    """With what a method's published numbers were made; read in the mode ``as_published`` only.

    Attributes:
        backbone: Hub id of the backbone.
        image_size: Side of the square input, in pixels.
        activation: Set where the authors' code ran OpenAI's weights with another activation than they were trained
            with; None for the checkpoint's own.
        position_rule: How the authors' code resamples the position table.
    """

    backbone: str
    image_size: int
    activation: Literal["gelu", "quick_gelu"] | None
    position_rule: PositionRule

    def activation_for(self, backbone: str) -> Literal["gelu", "quick_gelu"] | None:
        """The activation to be forced on a backbone: on OpenAI's weights only, all others keep their own.

        Args:
            backbone: Hub id or folder; OpenAI's weights are known by the last part of it.
        """
        last = backbone.rstrip("/").rpartition("/")[2]
        same = last == self.backbone.rpartition("/")[2] or last.endswith(".openai")
        return self.activation if same else None

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return asdict(self)


OPENAI_LARGE = PublishedSetup("openai/clip-vit-large-patch14-336", 518, "gelu", "bicubic_antialias")
"""What APRIL-GAN's loader makes of OpenAI's ViT-L/14@336 at 518 pixels, and all codes that copied it: weights
trained with QuickGELU, run with GELU."""
LAION_BASE_PLUS = PublishedSetup("timm/vit_base_patch16_plus_clip_240.laion400m_e31", 240, None, "bicubic_antialias")
"""OpenCLIP's ViT-B-16-plus-240, on which WinCLIP's numbers were made, at its own size."""


@dataclass(frozen=True)
class Capabilities:
    """What a method can do and what it needs for it.

    Attributes:
        classifies: Gives an image score.
        segments: Gives an anomaly map.
        few_shot: Can use normal reference images.
        needs_references: Can't work without them.
        uses_text: Reads prompts.
        any_prompts: Is made to take any prompt ensemble. CLIP-AC is its one pair of prompts, and what was trained or
            tuned with certain words keeps them.
        trained: Needs parameters trained on auxiliary data.
        transductive: Its scores depend on the other test images, so a live system can't have them.
        vision_language: Works on a vision-language backbone; False for references that know images only.
    """

    classifies: bool = True
    segments: bool = False
    few_shot: bool = False
    needs_references: bool = False
    uses_text: bool = True
    any_prompts: bool = False
    trained: bool = False
    transductive: bool = False
    vision_language: bool = True


@dataclass(frozen=True)
class Reason:
    """One thing that moved a score, in a form that can be stored and shown.

    Attributes:
        kind: ``prompt``, ``window`` or ``reference``.
        text: The prompt, or what the place is, in words.
        value: How strongly: a cosine similarity for prompts and references, a score for windows.
        towards: ``normal`` or ``abnormal``.
        box: The place in the image as (left, top, right, bottom), each a fraction of its side; or None.
    """

    kind: str
    text: str
    value: float
    towards: str
    box: tuple[float, float, float, float] | None = None


def greatest(values: Tensor, count: int) -> list[list[tuple[float, int]]]:
    """For each row of [N, m] its greatest values with their places, greatest first; for reasons.

    What is on a device is chosen there, in all rows at once.
    """
    top = values.topk(min(count, values.shape[1]), dim=1)
    found = to_host({"values": top.values, "places": top.indices})
    rows = zip(found["values"].tolist(), found["places"].tolist(), strict=True)
    return [list(zip(*row, strict=True)) for row in rows]


Progress = Callable[[float], None]
"""Is told from time to time what share of some work is done, from 0 to 1."""


def no_progress(share: float) -> None:
    """Nobody wants to know."""


class Scorer(ABC):
    """A method made ready for one category; immutable, so it may be used from several threads."""

    @abstractmethod
    def score(self, features: Features) -> Predictions:
        """Score a batch of N images.

        Args:
            features: At least what the method's ``needs`` named, for N images.

        Returns:
            Predictions for the N images, in order. The result for an image does not depend on the batch.

        Raises:
            MethodError: If the method is transductive and needs ``score_set``.
        """

    def score_set(self, features: Features, progress: Progress = no_progress) -> Predictions:
        """Score all test images of a category at once; what a transductive method must be given.

        Args:
            features: Features of all N test images.
            progress: Told the share that is done, where that takes long.

        Returns:
            Predictions for the N images, in order; of a transductive method they depend on the whole set.
        """
        return self.score(features)

    def score_left_out(self, references: Features) -> Predictions | None:
        """Score the K references it was made ready with, each as if it were not among them.

        Args:
            references: Features of all of them, in the order they were given, K >= 2.

        Returns:
            Predictions for the K images; None where only a scorer made ready without an image can judge it.
        """
        return None

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """Why each of the N images got its score, strongest reasons first; empty where a method has none.

        Args:
            features: What was scored, on the backbone's device: read little of it.
            predictions: What ``score`` or ``score_set`` made of it, on the CPU. What scoring computed is read from
                here, not computed again.
        """
        return ((),) * len(features)


@dataclass(frozen=True)
class MethodSettings:
    """Base of every method's settings: all values a user may change, with their defaults.

    Subclasses check their values in ``__post_init__`` and raise ``MethodError`` naming the setting.

    Attributes:
        name_table: How category folders become words in prompts: ``spaced`` (``metal nut``), ``raw``, ...
    """

    name_table: NameTable = "spaced"

    def to_json(self) -> dict[str, Any]:
        """As plain json values."""
        return asdict(self)


class Method(ABC):
    """A way to score images, as its authors describe it.

    Attributes:
        name: Identifier, e.g. ``winclip``.
        settings_type: The dataclass of its settings.
        presets: Settings by preset name that reproduce a paper or a public code; ``canonical`` is the default.
        published: Backbone and input of the published numbers; None if there are none.
        own_card: The card of a method that brings no yaml file in ``cards``, such as a plugin.
        own_backbone: The one backbone it runs on, whatever the others run on; None for any CLIP model.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[MethodSettings]] = MethodSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"canonical": {}}
    published: ClassVar[PublishedSetup | None] = None
    own_card: ClassVar[MethodCard | None] = None
    own_backbone: ClassVar[str | None] = None

    def __init__(self, settings: MethodSettings, preset: str = "canonical") -> None:
        self.settings = settings
        self.preset = preset

    @property
    def id(self) -> str:
        """``name:preset``, e.g. ``winclip:canonical``."""
        return f"{self.name}:{self.preset}"

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can do with these settings."""

    def prompt_record(self) -> Mapping[str, Any]:
        """What a run records of the prompts: the ensemble's name and content hash; empty without text."""
        return {}

    def title(self, shots: int = 0) -> str:
        """How the method is shown with this number of shots, e.g. ``WinCLIP+`` with references."""
        card = load_card(self.name)
        return card.few_shot_title if shots and card.few_shot_title else card.title

    def is_transductive(self, shots: int) -> bool:
        """Whether, with this number of shots, its scores depend on the other test images: ``score_set`` is needed."""
        return self.capabilities.transductive

    def why_not_applicable(self, shots: int) -> str | None:
        """A reason why this method can't be run with this number of shots, or None if it can."""
        if shots > 0 and not self.capabilities.few_shot:
            return f"{self.name} does not use reference images, so {shots} shots would change nothing."
        if shots == 0 and self.capabilities.needs_references:
            return f"{self.name} compares with reference images and needs at least one shot."
        return None

    def why_not_on(self, backbone: BackboneInfo) -> str | None:
        """A reason why this method can't be run on a backbone, or None if it can."""
        if self.own_backbone is not None and backbone.id != self.own_backbone:
            return f"{self.name} runs on the backbone {self.own_backbone!r} only, not on {backbone.title}."
        if self.own_backbone is None and backbone.vision_only:
            return f"{self.name} needs a vision-language backbone; {backbone.title} knows images only."
        return None

    def set_operations(self, images: int, backbone: BackboneInfo) -> float:
        """Floating-point operations to judge a whole set beside its passes, where they grow faster than the set."""
        return 0.0

    def calibration_images(self, shots: int) -> int:
        """How many normal images beside the references ``prepare`` wants for calibration."""
        return 0

    @classmethod
    def why_not_here(cls) -> str | None:
        """What this machine lacks to run it and how to get it, or None if nothing."""
        return None

    @abstractmethod
    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """The features its scorer will read, for test images and references alike."""

    @abstractmethod
    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> Scorer:
        """Make a scorer for one category.

        Args:
            category: The category in words, as prompts are to name it, e.g. ``metal nut``.
            text: The backbone's text side.
            references: Features of the K normal reference images, on the backbone's device; None for zero-shot.
            parameters: Trained tensors by name, for methods that train: on the backbone's device, but for single and
                whole numbers, which stay on the CPU to be read.
            calibration: Features of further normal images for score calibration, where a setting asks for it.

        Raises:
            MethodError: If references or parameters are missing or don't fit.
        """
