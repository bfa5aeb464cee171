"""Judge photos with several methods, and say where each sees something.

python examples/judge_photos.py                         # two of the bundled images
python examples/judge_photos.py "metal nut" photo.jpg   # a part's name and photos of your own
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vlmad_core
from vlmad_core.datasets import load_dataset

METHODS = ("clip_cpe", "winclip", "patch_memory")
"""The last one uses no words: it compares with normal references, and sits out where there are none."""


def bundled_photos() -> tuple[list[Path], list[Path]]:
    """A normal and a defective piece of wood, and two normal references that are neither."""
    samples = [sample for sample in load_dataset("bundled_a").samples if sample.category == "wood"]
    test = {bool(sample.label): sample.image_path for sample in samples if sample.split == "test"}
    train = [sample.image_path for sample in samples if sample.split == "train"]
    return [test[False], test[True]], train[:2]


def main(arguments: list[str] | None = None) -> None:
    """Judge, print a table and the most abnormal place of each map."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("category", nargs="?", default="wood", help="what the part is called")
    parser.add_argument("photos", nargs="*", type=Path, help="photos of it")
    parser.add_argument("--references", nargs="+", type=Path, default=[], help="photos of good parts")
    given = parser.parse_args(arguments)
    photos, references = (given.photos, given.references) if given.photos else bundled_photos()

    judged = vlmad_core.predict(photos, given.category, METHODS, references)

    print(judged.table().to_string(index=False))
    for result in judged.images:
        for opinion in result.opinions:
            prediction = opinion.prediction
            if prediction.anomaly_map is not None:
                height, width = prediction.anomaly_map.shape
                row, column = divmod(int(prediction.anomaly_map.argmax()), width)
                place = f"{100 * column / width:.0f} % from the left, {100 * row / height:.0f} % from the top"
                print(f"{result.name}: {prediction.title} sees most at {place}")


if __name__ == "__main__":
    main()
