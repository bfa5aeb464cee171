"""WinCLIP and WinCLIP+ (Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation", CVPR 2023).

Every k x k window of patches is run through the whole transformer and compared with normal and abnormal
prompts; patches take the harmonic mean over the windows that cover them, and over scales. With normal
references (WinCLIP+) windows and patches are compared with the nearest of the references as well.
No official code is public; the choices left open by the paper are settings, see the method card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vlmad_core.backbones.devices import to_device
from vlmad_core.backbones.features import FeatureRequest, Features
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.backbones.windows import window_key, window_starts
from vlmad_core.errors import MethodError
from vlmad_core.libraries import F, torch
from vlmad_core.methods.base import LAION_BASE_PLUS, Capabilities, Reason, Scorer, greatest
from vlmad_core.methods.patches import (
    Search,
    least_familiar,
    nearest_in_memory,
    nearest_of_others,
    patch_box,
    unit_rows,
)
from vlmad_core.methods.predictions import MapRule, NearestPatches, Predictions
from vlmad_core.methods.prompted import (
    PromptedMethod,
    PromptedSettings,
    check_temperature,
    nearest_prompts,
    two_class_logits,
)
from vlmad_core.methods.registry import register_method
from vlmad_core.prompts.prototypes import TextClasses

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class WinClipSettings(PromptedSettings):
    """Settings of WinCLIP, beside the prompts.

    Attributes:
        temperature: Divides the difference of cosines; decides how sharply the harmonic mean selects.
        scales: Sides of the windows, in patches.
        stride: From one window to the next, in patches, at most the smallest side. Windows begin at every
            ``stride``-th patch, and a last row and column of them lies flush with the far borders, so that each patch
            is covered, by fewer windows than with stride 1; it takes the mean over those.
        image_scale: Whether the whole image is a further scale of the zero-shot map.
        patch_layer_norm: Whether patch tokens pass the final LayerNorm before they are compared (anomalib).
        association: Mean over the windows that cover a patch in the comparison with references.
    """

    temperature: float = 0.07
    scales: tuple[int, ...] = (2, 3)
    stride: int = 1
    image_scale: bool = True
    patch_layer_norm: bool = False
    association: Literal["harmonic", "arithmetic"] = "harmonic"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature("WinCLIP", self.temperature)
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or any(not isinstance(k, int) or k < 1 for k in self.scales):
            raise MethodError(
                f"The setting 'scales' of WinCLIP is {self.scales}.",
                "Give window sides in patches, e.g. (2, 3).",
            )
        if not 1 <= self.stride <= min(self.scales):
            raise MethodError(
                f"The setting 'stride' of WinCLIP is {self.stride}, and its smallest window {min(self.scales)} wide.",
                f"Choose a stride between 1 and {min(self.scales)}: a larger one leaves patches out.",
            )
        if self.association not in ("harmonic", "arithmetic"):
            raise MethodError(
                f"The setting 'association' of WinCLIP is {self.association!r}.",
                "Choose 'harmonic' or 'arithmetic'.",
            )

    @property
    def windows(self) -> Mapping[int, int | tuple[int, int]]:
        """Scale -> the key of its windows among the features."""
        return {k: window_key(k, self.stride) for k in self.scales}

    def to_json(self) -> dict[str, Any]:
        """As plain json values; a stride of 1 is left out, as in records from before there was a choice."""
        values = super().to_json()
        return values if self.stride > 1 else {name: value for name, value in values.items() if name != "stride"}


@dataclass(frozen=True)
class WinClipScorer(Scorer):
    """WinCLIP for one category.

    Attributes:
        text: Prompts and prototypes of the two classes.
        settings: The method's settings.
        window_memory: Scale -> [K*W, e] window embeddings of the references, unit vectors; empty for zero-shot.
        patch_memory: [K*P, d] patch tokens of the references, unit vectors; None for zero-shot.
    """

    text: TextClasses
    settings: WinClipSettings
    window_memory: Mapping[int, Tensor]
    patch_memory: Tensor | None

    def score(self, features: Features) -> Predictions:
        """Zero-shot: class score and harmonic map; with references, both averaged with the association."""
        return self._scored(features, nearest_in_memory)

    def score_left_out(self, references: Features) -> Predictions:
        """Each reference by the windows and patches of the others."""
        return self._scored(references, nearest_of_others)

    def _scored(self, features: Features, search: Search) -> Predictions:
        assert features.image_embedding is not None
        image_logits = two_class_logits(features.image_embedding, self.text.prototypes, self.settings.temperature)
        score = image_logits.sigmoid()
        windows = {
            k: two_class_logits(features.windows[key], self.text.prototypes, self.settings.temperature)
            for k, key in self.settings.windows.items()
        }
        grid_map = text_map(windows, image_logits, features.grid, self.settings.image_scale, self.settings.stride)
        nearest = None
        if self.patch_memory is not None:
            nearest = search(patch_tokens(features, self.settings), self.patch_memory)
            association = self._association(features, nearest, search)
            score = 0.5 * (score + association.flatten(1).amax(dim=1))
            grid_map = 0.5 * (grid_map + association)
        kept = {_windows_of(k): logits for k, logits in windows.items()}
        return Predictions(score, grid_map[:, None], MapRule(), nearest, kept)

    def explain(self, features: Features, predictions: Predictions) -> tuple[tuple[Reason, ...], ...]:
        """The most similar prompts, the most abnormal windows, and with references the least familiar patch."""
        assert features.image_embedding is not None
        prompts = nearest_prompts(features.image_embedding, self.text)
        logits = {k: predictions.kept[_windows_of(k)] for k in self.settings.scales}
        windows = _top_windows(logits, features.grid, self.settings.stride)
        if predictions.nearest is None:
            return tuple(a + b for a, b in zip(prompts, windows, strict=True))
        patches = least_familiar(predictions.nearest, features.grid)
        return tuple((*a, *b, c) for a, b, c in zip(prompts, windows, patches, strict=True))

    def _association(self, features: Features, patches: NearestPatches, search: Search) -> Tensor:
        """Distance to the references per patch, [N, rows, columns]: mean of window scales and patch scale."""
        average = harmonic_window_mean if self.settings.association == "harmonic" else window_mean
        maps = [
            average(
                search(features.windows[self.settings.windows[k]], memory).distance,
                features.grid,
                k,
                self.settings.stride,
            ).float()
            for k, memory in self.window_memory.items()
        ]
        return torch.stack([*maps, patches.distance.reshape(-1, *features.grid)]).mean(dim=0)


def _windows_of(scale: int) -> str:
    """Under what name the windows' logits are kept for explanations."""
    return f"windows {scale}"


def text_map(
    window_logits: Mapping[int, Tensor],
    image_logits: Tensor,
    grid: tuple[int, int],
    image_scale: bool,
    stride: int = 1,
) -> Tensor:
    """The zero-shot map: harmonic mean of softmax scores over windows and scales, in closed form.

    With score s = sigmoid(z), 1/s = 1 + exp(-z): a harmonic mean of scores is the logistic of the mean odds of
    normal. The mean is taken in float64, where exp(-z) can't overflow for any usable temperature.

    Args:
        window_logits: Scale k -> [N, W].
        image_logits: [N].
        grid: Patch grid (rows, columns).
        image_scale: Whether the whole image counts as a further scale.
        stride: Of the windows, in patches.

    Returns:
        [N, rows, columns] float32, in (0, 1).
    """
    odds = [window_mean((-logits.double()).exp(), grid, k, stride) for k, logits in window_logits.items()]
    if image_scale:
        odds.append((-image_logits.double()).exp()[:, None, None].expand_as(odds[0]))
    return (1.0 / (1.0 + torch.stack(odds).mean(dim=0))).float()


def window_mean(values: Tensor, grid: tuple[int, int], scale: int, stride: int = 1) -> Tensor:
    """For each patch the mean over all windows that cover it (section 3.2, harmonic averaging, for any mean).

    Args:
        values: [N, W], one value per k x k window, row by row; may hold infinities.
        grid: Patch grid (rows, columns).
        scale: Side k of the windows.
        stride: From one window to the next; where they begin is what ``window_starts`` says.

    Returns:
        [N, rows, columns], the dtype of ``values``.

    Raises:
        MethodError: If W is not the number of such windows.
    """
    down, across = (window_starts(length, scale, stride) for length in grid)
    if values.ndim != 2 or values.shape[1] != len(down) * len(across):
        raise MethodError(
            f"{tuple(values.shape)} values don't fit the {len(down)} x {len(across)} windows of scale {scale}.",
            "Give one value per window and image.",
        )
    windows = values.reshape(-1, 1, len(down), len(across))
    covering = windows.new_ones(1, 1, *windows.shape[2:])
    if stride > 1:
        windows, covering = (_on_all_places(one, down, across, grid, scale) for one in (windows, covering))
    # Average pooling over the padded lattice sums the windows that cover a patch, times a constant that the
    # same pooling over ones cancels. Pooling only adds, so an infinity stays one and never becomes NaN.
    total, count = (F.avg_pool2d(F.pad(one, (scale - 1,) * 4), scale, stride=1) for one in (windows, covering))
    return (total / count)[:, 0]


def _on_all_places(
    windows: Tensor, down: Sequence[int], across: Sequence[int], grid: tuple[int, int], scale: int
) -> Tensor:
    """Values [N, 1, R, C] of windows that begin at some patches among those that would begin at every one, else 0."""
    lattice = windows.new_zeros(len(windows), 1, grid[0] - scale + 1, grid[1] - scale + 1)
    rows, columns = (to_device(torch.tensor(starts), windows.device) for starts in (down, across))
    lattice[:, :, rows[:, None], columns] = windows
    return lattice


def harmonic_window_mean(values: Tensor, grid: tuple[int, int], scale: int, stride: int = 1) -> Tensor:
    """For each patch the harmonic mean over the windows that cover it; 0 if any of them is 0.

    Args:
        values: [N, W], not negative.
        grid: Patch grid (rows, columns).
        scale: Side k of the windows.
        stride: From one window to the next.

    Returns:
        [N, rows, columns], float64: the reciprocals of small distances need the range.
    """
    return window_mean(values.double().reciprocal(), grid, scale, stride).reciprocal()


def patch_tokens(features: Features, settings: WinClipSettings) -> Tensor:
    """Patch tokens [N, P, d] compared with references: raw last block, or after LayerNorm, as set."""
    if settings.patch_layer_norm:
        assert features.patch_tokens is not None
        return features.patch_tokens
    return features.stages[max(features.stages)][:, 1:]


def _top_windows(
    window_logits: Mapping[int, Tensor], grid: tuple[int, int], stride: int, count: int = 3
) -> tuple[tuple[Reason, ...], ...]:
    """For each image the windows with the greatest scores, over all scales."""
    keys = [(k, i) for k, logits in window_logits.items() for i in range(logits.shape[1])]
    scores = torch.cat([logits.sigmoid() for logits in window_logits.values()], dim=1)
    reasons = []
    for image in greatest(scores, count):
        found = []
        for value, index in image:
            k, number = keys[index]
            down, across = (window_starts(length, k, stride) for length in grid)
            row, column = divmod(number, len(across))
            place = down[row], across[column]
            found.append(Reason("window", f"{k} x {k} patches", value, "abnormal", patch_box(*place, k, grid)))
        reasons.append(tuple(found))
    return tuple(reasons)


@register_method
class WinClip(PromptedMethod):
    """WinCLIP; WinCLIP+ with references."""

    name = "winclip"
    settings_type = WinClipSettings
    settings: WinClipSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "canonical": {},
        "accurate": {"ensemble": "winclip_accurate", "text_average": "mean", "name_table": "raw"},
        "anomalib": {
            "ensemble": "winclip_accurate",
            "text_average": "mean",
            "name_table": "raw",
            "patch_layer_norm": True,
        },
        "fast": {"scales": (3,), "stride": 2},
    }
    published = LAION_BASE_PLUS

    @property
    def capabilities(self) -> Capabilities:
        """Classifies and segments, with or without references."""
        return Capabilities(segments=True, few_shot=True, any_prompts=True)

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """Image and window embeddings; with references the last patch tokens too."""
        raw, normed = (
            shots > 0 and not self.settings.patch_layer_norm,
            shots > 0 and self.settings.patch_layer_norm,
        )
        return FeatureRequest(
            image_embedding=True,
            windows=frozenset(self.settings.windows.values()),
            stages=frozenset({backbone.depth}) if raw else frozenset(),
            patch_tokens=normed,
        )

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> WinClipScorer:
        """Embed the prompts, and keep the references' windows and patches as memories."""
        return self.scorer(self.text_classes(text, category), references)

    def scorer(self, text: TextClasses, references: Features | None = None) -> WinClipScorer:
        """A scorer from prompts that are already embedded."""
        if references is None:
            return WinClipScorer(text, self.settings, window_memory={}, patch_memory=None)
        return WinClipScorer(
            text,
            self.settings,
            window_memory={k: unit_rows(references.windows[key]) for k, key in self.settings.windows.items()},
            patch_memory=unit_rows(patch_tokens(references, self.settings)),
        )
