"""A custom method, with a feature of its own, in one file: ``python examples/own_method.py``.

The method asks which patch is unlike the rest of its own image: no words, no references. What it reads of the vision
tower, each patch's token less the mean of its image, is a feature the program does not have; the file brings it. Named
in ``VLMAD_PLUGINS``, the method is in every command and view.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vlmad_core.backbones.features import Feature, FeatureRequest, Features, register_feature
from vlmad_core.backbones.info import BackboneInfo
from vlmad_core.backbones.tower import TextTower
from vlmad_core.backbones.vision import after_last_block
from vlmad_core.cards import MethodCard, MethodStyle
from vlmad_core.cli import main as vlmad
from vlmad_core.methods import Capabilities, MapRule, Method, MethodSettings, Predictions, Scorer, register_method


def less_the_mean(tokens: Tensor) -> Tensor:
    """Tokens [N, P, d] less the mean of each image."""
    return tokens - tokens.mean(dim=1, keepdim=True)


register_feature(
    Feature(
        "patch_contrast",
        read=after_last_block(lambda tower, last: less_the_mean(tower.norm(last[:, 1:]))),
        rows=lambda grid, key: grid[0] * grid[1],
        width="tower",
        direction_only=False,  # its length is what counts
    )
)


@dataclass(frozen=True)
class OddPatchScorer(Scorer):
    """How far each patch is from the mean patch of its image."""

    def score(self, features: Features) -> Predictions:
        """The map is the distance, the image's score its maximum."""
        distance = features.patch_contrast.norm(dim=-1)
        return Predictions(distance.amax(dim=1), distance.reshape(-1, 1, *features.grid), MapRule())


@register_method
class OddPatch(Method):
    """The odd patch out."""

    name = "odd_patch"
    settings_type = MethodSettings
    own_card = MethodCard(
        name="odd_patch",
        title="Odd patch",
        paper="An example",
        year=2026,
        url="",
        summary="Each patch's distance from the mean patch of its own image.",
        needs=(),
        style=MethodStyle("#6A8F00", "dot", "star"),
    )
    capabilities = Capabilities(segments=True, uses_text=False)

    def needs(self, backbone: BackboneInfo, shots: int) -> FeatureRequest:
        """Its own feature."""
        return FeatureRequest(patch_contrast=True)

    def prepare(
        self,
        category: str,
        text: TextTower,
        references: Features | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        calibration: Features | None = None,
    ) -> OddPatchScorer:
        """Nothing is prepared."""
        return OddPatchScorer()


def main(arguments: list[str] | None = None) -> None:
    """Run it beside MuSc, which asks which patch is unlike those of all other images, and list what was stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--categories", nargs="+", default=["wood", "carpet"], help="of bundled_a")
    parser.add_argument("--store", type=Path, default=Path("example_results"), help="where results are kept")
    given = parser.parse_args(arguments)
    words = [
        "--dataset",
        "bundled_a",
        "--categories",
        *given.categories,
        "--method",
        "odd_patch",
        "musc",
        "--size",
        "smoke",
    ]
    code = vlmad(["precompute", *words, "--store", str(given.store), "--latency", "0"])
    if code == 0:
        code = vlmad(["results", "list", "--store", str(given.store)])
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
