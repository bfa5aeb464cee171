"""The methods command: what methods there are, and the card of each."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from vlmad_core.methods import create_method, list_methods, load_card, method_class
from vlmad_core.methods.plugins import add_plugin_argument, use_plugins
from vlmad_core.paths import as_typed, parameter_folders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", nargs="?", help="show the card of this method, or of its name in the literature")
    add_plugin_argument(parser)
    parser.add_argument("--json", action="store_true", help="print json")


def run(args: argparse.Namespace) -> int:
    """List the methods, or show one.

    Raises:
        MethodError: If the method is unknown.
    """
    use_plugins(args.plugin)
    names = (method_class(args.name).name,) if args.name else list_methods()
    described = [describe(name) for name in names]
    if args.json:
        print(json.dumps(described, indent=1))
    elif args.name:
        print(_card_text(described[0]))
    else:
        for item in described:
            print(f"{item['name']:<15}{item['title']:<32}{item['year']}  presets: {', '.join(item['presets'])}")
            if item["lacking"]:
                print(f"{'':<15}{item['lacking']}")
    return 0


def describe(name: str) -> dict[str, Any]:
    """A method's card, presets, default settings, capabilities and files of trained parameters as json values."""
    card, cls = load_card(name), method_class(name)
    method = create_method(name)
    return {
        **dataclasses.asdict(card),
        "presets": {preset: dict(settings) for preset, settings in cls.presets.items()},
        "defaults": method.settings.to_json(),
        "capabilities": dataclasses.asdict(method.capabilities),
        "own_backbone": cls.own_backbone,
        "lacking": cls.why_not_here(),
        "parameters": [
            as_typed(path) for folder in parameter_folders() for path in sorted((folder / name).glob("*.safetensors"))
        ],
    }


def _card_text(item: dict[str, Any]) -> str:
    lines = [
        f"{item['title']} ({item['name']})" + (f", {item['few_shot_title']}" if item["few_shot_title"] else ""),
        f"{item['paper']} {item['url']}",
        "",
        item["summary"].strip(),
        "",
        f"needs: {', '.join(item['needs']) or 'nothing'}",
        f"trained on: {item['trained_on'] or 'nothing is trained'}",
        f"can: {', '.join(name for name, value in item['capabilities'].items() if value)}",
        f"runs on: {item['own_backbone'] or 'any CLIP model'}"
        + ("" if item["capabilities"]["vision_language"] else "; not a vision-language method"),
        *([f"not here: {item['lacking']}"] if item["lacking"] else []),
        "settings:",
    ]
    explained = dict(item["settings"])
    lines += [f"  {key} = {value!r}  {explained.get(key, '')}" for key, value in item["defaults"].items()]
    lines.append("presets:")
    lines += [f"  {name}: {settings or 'as above'}" for name, settings in item["presets"].items()]
    if item["parameters"]:
        lines += ["trained parameters here, first to last:", *(f"  {path}" for path in item["parameters"])]
    if item["deviations"]:
        lines += ["public codes differ:", *(f"  - {text}" for text in item["deviations"])]
    return "\n".join(lines)
