"""anomalib's WinCLIP, run by ``bench methods --anomalib-python`` with the Python of an environment that has anomalib.

Nothing of this program is imported here: that environment brings torchvision, which this one must not have. Both
processes stay loaded and take turns. Json lines go in and out; tensors lie in files of the folder that is named first.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

WEIGHTS, GIVEN, MAPS = "weights.pt", "given.pt", "maps.pt"
"""Files: the model's tensors under OpenCLIP's names; pixels [N, 3, S, S] and prototypes [2, e]; what came of them."""


def main() -> int:
    """Answer one json line with another until there are no more; everything else that is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        serve(say)
    except Exception as error:  # whatever goes wrong there is said here
        say(error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def serve(say: Any) -> None:
    """Load what is asked for first, then pass a batch for each further line."""
    import torch

    torch_model: Any = importlib.import_module("anomalib.models.image.winclip.torch_model")
    asked = json.loads(sys.stdin.readline())
    folder, device = Path(asked["folder"]), torch.device(asked["device"])
    torch.set_num_threads(asked["threads"])
    torch_model.PRETRAINED = None  # nothing is downloaded: the weights come from the folder
    model = torch_model.WinClipModel().eval().requires_grad_(False)
    model.clip.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    given = torch.load(folder / GIVEN, weights_only=True)
    model._text_embeddings = given["prototypes"]
    model.to(device)
    pixels = given["pixels"].to(device)
    names = ("anomalib", "open_clip_torch", "torch", "torchvision")
    installed = {found.name.replace("-", "_"): found.version for found in metadata.distributions()}
    say(packages={name: installed[name] for name in names if name in installed})

    def wait() -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    for line in sys.stdin:
        asked = json.loads(line)
        precision = asked["autocast"]
        kind = None if precision is None else getattr(torch, precision)
        wait()
        start = time.perf_counter()
        with torch.autocast(device.type, dtype=kind, enabled=kind is not None):
            found = model(pixels[: asked["batch"]])
        wait()
        seconds = time.perf_counter() - start
        if asked["keep"]:
            kept = {"scores": found.pred_score.float().cpu(), "maps": found.anomaly_map.float().cpu()}
            torch.save(kept, folder / MAPS)
        say(seconds=seconds)


if __name__ == "__main__":
    sys.exit(main())
