"""Teacher memory: the patch memory on an ImageNet network instead of CLIP. No language, not a VLM: a reference.

What a network that never met a word reaches with the same references (after PatchCore, Roth et al., CVPR 2022). It
runs on a backbone of its own, which needs two packages more (``requirements-train.txt``).
"""

from __future__ import annotations

from dataclasses import dataclass

from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.teacher import TEACHER_BLOCKS, TEACHER_ID, teacher_is_installed
from vlmad_core.methods.base import Capabilities
from vlmad_core.methods.patch_memory import PatchMemory, PatchMemorySettings
from vlmad_core.methods.registry import register_method
from vlmad_core.paths import how_to_install


@dataclass(frozen=True)
class TeacherMemorySettings(PatchMemorySettings):
    """Settings of the teacher memory: those of the patch memory.

    Attributes:
        stages: Blocks of the network whose maps are compared, counted from 1; None: 5, 9 and 11 of 16.
    """


@register_method
class TeacherMemory(PatchMemory):
    """The patch memory on EfficientNet-Lite0; needs references."""

    name = "teacher_memory"
    settings_type = TeacherMemorySettings
    settings: TeacherMemorySettings
    own_backbone = TEACHER_ID

    @property
    def capabilities(self) -> Capabilities:
        """As the patch memory, and not a vision-language method."""
        return Capabilities(segments=True, few_shot=True, needs_references=True, uses_text=False, vision_language=False)

    def stages(self, backbone: BackboneInfo) -> tuple[int, ...]:
        """The blocks whose maps are compared."""
        return self.settings.stages or tuple(block + 1 for block in TEACHER_BLOCKS)

    @classmethod
    def why_not_here(cls) -> str | None:
        """Its packages may not be installed."""
        if teacher_is_installed():
            return None
        return f"Its network is not installed. Install it: {how_to_install('train')}"
