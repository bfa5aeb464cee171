"""The methods on a panel: made ready for a backbone, or with the reason why they can't take part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.backbones import BackboneInfo
from vlmad_core.datasets.images import DEFAULT_LIMITS, ImageLimits
from vlmad_core.errors import MethodError, VlmadError
from vlmad_core.methods import Method, create_method, find_parameters, load_parameters
from vlmad_core.prompts import PromptEnsemble

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Member:
    """A method on a panel.

    Attributes:
        method_id: ``name:preset``, or what was asked for if there is no such method.
        title: How it is shown.
        shots: References it uses.
        method: The method; None with an error.
        error: Why it can't judge, or None.
        parameters: Trained tensors.
        parameters_file: Where they come from; empty without.
        trained_on: As in ``LivePrediction``.
    """

    method_id: str
    title: str
    shots: int
    method: Method | None = None
    error: str | None = None
    parameters: Mapping[str, Tensor] | None = None
    parameters_file: str = ""
    trained_on: tuple[str, ...] | None = ()

    @property
    def ensemble(self) -> PromptEnsemble | None:
        """The prompts it reads; None if it reads no ensemble."""
        found = getattr(self.method, "ensemble", None)
        return found if isinstance(found, PromptEnsemble) else None

    def settings(self) -> dict[str, Any]:
        """What its numbers depend on, as plain json values."""
        facts: dict[str, Any] = {"method": self.method_id, "title": self.title, "shots": self.shots}
        if self.method is None:
            return facts | {"error": self.error}
        trained = None if self.trained_on is None else list(self.trained_on)
        return facts | {
            "settings": self.method.settings.to_json(),
            "prompts": dict(self.method.prompt_record()),
            "parameters": self.parameters_file or None,
            "trained_on": trained,
            "error": self.error,
        }


def choose_members(
    methods: Sequence[str | Method],
    info: BackboneInfo,
    shots: int,
    dataset: str | None = None,
    folders: Sequence[Path] | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> tuple[Member, ...]:
    """Make methods ready for a panel; one that can't take part says why and takes nothing from the others.

    Args:
        methods: Identifiers (``name`` or ``name:preset``) or methods; one given twice is taken once.
        info: The backbone.
        shots: References there are; methods that use none ignore them.
        dataset: The data set the images come from, which no trained parameters may have been trained on; None for
            images of the user's own.
        folders: Where trained parameters are looked for; ``paths.parameter_folders()`` if None.
        limits: ``max_methods`` is the most.

    Raises:
        MethodError: If there are none, or too many.
    """
    if not methods:
        raise MethodError("No method was chosen.", "Choose at least one.")
    if len(methods) > limits.max_methods:
        raise MethodError(
            f"{len(methods)} methods were chosen, more than the {limits.max_methods} that fit side by side.",
            "Choose fewer.",
        )
    members = (make_member(one, info, shots, dataset, folders) for one in methods)
    return tuple({member.method_id: member for member in members}.values())


def make_member(
    item: str | Method,
    info: BackboneInfo,
    shots: int,
    dataset: str | None = None,
    folders: Sequence[Path] | None = None,
) -> Member:
    """One method made ready, or the reason why it can't be; see ``choose_members``."""
    try:
        method = item if isinstance(item, Method) else create_method(item)
    except VlmadError as error:
        return Member(str(item), str(item), 0, error=str(error))
    used = shots if method.capabilities.few_shot else 0
    plain = Member(method.id, method.title(used), used, method)
    reason = why_not(method, used)
    if reason or not method.capabilities.trained:
        return replace(plain, error=reason)
    path = find_parameters(method.name, info, dataset, folders)
    if path is None:
        other = f" on other data than {dataset}" if dataset else ""
        return replace(
            plain,
            error=f"{plain.title} has no parameters trained with {info.title}{other}. "
            f"Train them: python -m vlmad_core train {method.name} --data NAME --backbone {info.id}",
        )
    try:
        tensors, record = load_parameters(path, method.name, info)
    except VlmadError as error:
        return replace(plain, error=str(error))
    file = f"{path.parent.name}/{path.name}"
    return replace(plain, parameters=tensors, parameters_file=file, trained_on=record.training_data)


def why_not(method: Method, shots: int) -> str | None:
    """Why a method can't judge a single image with this number of references; None if it can.

    Args:
        method: The method.
        shots: References it would use.
    """
    if not method.capabilities.vision_language:
        return f"{method.title()} runs on a network of its own, which knows images only, and is measured by precompute."
    if method.is_transductive(shots):
        return f"{method.title(shots)} needs all test images of a set and can't judge a single one."
    if not shots and method.capabilities.needs_references:
        return f"{method.title()} compares with normal references. Give at least one."
    return method.why_not_applicable(shots)
