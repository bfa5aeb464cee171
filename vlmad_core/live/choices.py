"""What can be chosen on this machine, and why the rest can't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.backbones.info import BackboneInfo, precisions_on
from vlmad_core.backbones.known import KNOWN_BACKBONES, cached_models
from vlmad_core.live.members import make_member
from vlmad_core.methods import list_methods, takes_prompts
from vlmad_core.prompts import ensemble_label


@dataclass(frozen=True)
class Choice:
    """Something that can be chosen, or can't.

    Attributes:
        id: What to pass on.
        title: How it is shown.
        reason: Why it can't be chosen; empty if it can.
    """

    id: str
    title: str
    reason: str = ""

    @property
    def available(self) -> bool:
        """Whether it can be chosen."""
        return not self.reason


def method_choices(
    info: BackboneInfo, shots: int, dataset: str | None = None, folders: Sequence[Path] | None = None
) -> tuple[Choice, ...]:
    """Every method, with the reason where it can't judge a single image here and now.

    Args:
        info: The backbone.
        shots: Normal references there are.
        dataset: The data set the image comes from; None for an image of the user's own.
        folders: Where trained parameters are looked for; ``paths.parameter_folders()`` if None.
    """
    members = [(name, make_member(name, info, shots, dataset, folders)) for name in list_methods()]
    return tuple(Choice(name, member.title, member.error or "") for name, member in members)


def with_prompts(methods: Sequence[str], ensemble: str) -> tuple[str, ...]:
    """The same methods, those that are made to take any prompts with an ensemble; the others keep their own.

    Args:
        methods: Names of methods.
        ensemble: Name of an ensemble, the program's or a saved one.

    Returns:
        Identifiers. A saved ensemble stands in them with a hash of its words, so that words that were saved again
        under the same name make another identifier.

    Raises:
        PromptError: If there is no such ensemble, or it is damaged.

    Examples:
        >>> with_prompts(["clip_ac", "clip_cpe"], "april_gan")
        ('clip_ac', 'clip_cpe:april_gan')
    """
    label = ensemble_label(ensemble)
    return tuple(f"{name}:{label}" if takes_prompts(name) else name for name in methods)


def backbone_choices(given: str | None = None) -> tuple[Choice, ...]:
    """The bundled backbone, one that is named, and hub models; those without weights here say so.

    Args:
        given: A folder or hub id that whoever started the program named; it comes first.
    """
    cached = cached_models()
    first = (
        [Choice(given, Path(given).name if Path(given).is_dir() else given)] if given not in (None, "bundled") else []
    )
    known = dict.fromkeys([*sorted(cached), *KNOWN_BACKBONES])
    others = [
        Choice(
            name,
            name,
            ""
            if name in cached
            else f"Its weights are not on this machine. Fetch them: python -m vlmad_core jobs run --download {name}",
        )
        for name in known
        if name != given
    ]
    return (*first, Choice("bundled", "Bundled demonstration CLIP"), *others)


def precision_choices(device: str = "cpu") -> tuple[Choice, ...]:
    """Arithmetics on a device; a coarser one only where its products are quicker, which is measured in a moment.

    Args:
        device: As ``devices_here`` names it.

    Raises:
        BackboneError: If it is not there.
    """
    from vlmad_core.backbones.arithmetic import LEAST_GAIN, PRODUCT_SECONDS, product_gain
    from vlmad_core.backbones.devices import resolve_device

    place = resolve_device(device)
    exact, *coarser = precisions_on(place.type)
    gains = {name: product_gain(name, PRODUCT_SECONDS / 10, place) for name in coarser}
    slow = "Here it is {:.2g} times as quick as float32 (measured), and no better."
    return (
        Choice(exact, exact),
        *(Choice(name, name, "" if gain >= LEAST_GAIN else slow.format(gain)) for name, gain in gains.items()),
        Choice("auto", "auto"),
    )
