"""One list of options: the command line and a yaml plan say the same, and what is wrong is said in words."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from vlmad_core import precompute
from vlmad_core.analysis.study import cli as study
from vlmad_core.engine.options import (
    MethodChoice,
    PlanError,
    PlanOptions,
    as_command,
    make_options,
    plain_options,
    read_plan,
)

GIVEN = {
    "datasets": ("--dataset a b", "[a, b]", ("a", "b")),
    "methods": ("--method winclip:accurate", "[winclip:accurate]", (MethodChoice("winclip:accurate"),)),
    "shots": ("--shots 1 2", "[1, 2]", (1, 2)),
    "seeds": ("--seeds 3", "3", 3),
    "backbone": ("--backbone x/y", "x/y", "x/y"),
    "mode": ("--mode matched", "matched", "matched"),
    "size": ("--size fast", "fast", "fast"),
    "categories": ("--categories nut", "nut", ("nut",)),
    "store": ("--store there", "there", Path("there")),
    "batch_size": ("--batch-size 4", "4", 4),
    "window_tokens": ("--window-tokens 99", "99", 99),
    "threads": ("--threads 2", "2", 2),
    "precision": ("--precision bfloat16", "bfloat16", "bfloat16"),
    "device": ("--device cuda", "cuda", "cuda"),
    "similarities": ("--similarities tf32", "tf32", "tf32"),
    "image_size": ("--image-size 240", "240", 240),
    "activation": ("--activation gelu", "gelu", "gelu"),
    "region": ("--region 0.1 0.0 0.9 1.0", "[0.1, 0.0, 0.9, 1.0]", (0.1, 0.0, 0.9, 1.0)),
    "tiles": ("--tiles 3 2", "[3, 2]", (3, 2)),
    "tile_overlap": ("--tile-overlap 0.25", "0.25", 0.25),
    "parameters": ("--parameters april_gan=a/b.st", "{april_gan: a/b.st}", {"april_gan": Path("a/b.st")}),
    "tokenizer": ("--tokenizer t", "t", "t"),
    "grids": ("--grids none", "none", "none"),
    "replicates": ("--no-replicates", "false", False),
    "thumbnails": ("--no-thumbnails", "false", False),
    "latency_images": ("--latency 0", "0", 0),
    "cache": ("--cache", "true", True),
    "cache_dir": ("--cache-dir c", "c", Path("c")),
    "cache_storage": ("--cache-storage full", "full", "full"),
    "cache_gb": ("--cache-gb 0.5", "0.5", 0.5),
}
"""By field: how it is given on the command line, in yaml, and what the plan then holds."""


def parse(words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    precompute.add_arguments(parser)
    return parser.parse_args(words.split())


def test_all_fields_are_options_and_keys_and_mean_the_same_in_both(tmp_path: Path) -> None:
    assert set(GIVEN) == {f.name for f in dataclasses.fields(PlanOptions)}
    plan = tmp_path / "plan.yaml"
    plan.write_text("\n".join(f"{name}: {text}" for name, (_, text, _) in GIVEN.items()))
    from_words = precompute.options_of(parse(" ".join(words for words, _, _ in GIVEN.values())))
    assert from_words == read_plan(plan, {}) == PlanOptions(**{name: value for name, (_, _, value) in GIVEN.items()})


def test_a_plan_comes_back_from_plain_values_and_from_its_command() -> None:
    least, most = {"datasets": ("a",), "methods": (MethodChoice("winclip"),)}, {k: v for k, (_, _, v) in GIVEN.items()}
    for options in (PlanOptions(**least), PlanOptions(**most)):
        assert make_options(json.loads(json.dumps(plain_options(options)))) == options
        words = shlex.split(as_command(options))
        assert words[:4] == ["python", "-m", "vlmad_core", "precompute"]
        assert precompute.options_of(parse(" ".join(words[4:]))) == options
    own = PlanOptions(("a",), (MethodChoice("winclip", {"scales": [2]}, label="two", shots=(1,)),))
    assert make_options(plain_options(own)) == own


def test_what_is_not_given_has_its_default_and_the_command_line_goes_before_the_plan(tmp_path: Path) -> None:
    least = precompute.options_of(parse("--dataset a --method winclip"))
    assert least == PlanOptions(("a",), (MethodChoice("winclip"),))
    plan = tmp_path / "plan.yaml"
    plan.write_text("datasets: a\nmethods: winclip\nseeds: 2\nshots: 4\ncache_dir: c\n")
    both = precompute.options_of(parse(f"--plan {plan} --seeds 3"))
    assert (both.seeds, both.shots, both.cache) == (3, (4,), False)
    assert precompute.options_of(parse(f"--plan {plan} --cache-dir d")).cache


@pytest.mark.parametrize("module", [precompute, study])
def test_help_shows_the_defaults(module, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "{default}" not in shown
    for text in ("per category (default full)", "cuda, ... (default cpu)", "0 for none (default 8)"):
        assert text in shown


def test_the_study_refuses_what_a_plan_refuses() -> None:
    parser = argparse.ArgumentParser()
    study.add_arguments(parser)
    with pytest.raises(PlanError, match=r"The command line can't be used: seeds is 0 where a number of at least 1"):
        study.run(parser.parse_args(["--dataset", "bundled_a", "--seeds", "0", "--dry-run"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("datasets: [a\n".encode("utf-16-le"), "can't be read as yaml"),
        (b"\xff\xfe\x00", "can't be read as yaml"),
        (b"[" * 100_000, "nested more than 50 levels"),
        (b"a: " + b"{a: " * 100_000, "nested more than 50 levels"),
        (b"a: &x [1]\nb: [*x, *x]", "holds yaml aliases"),
        (b"x: '" + b"y" * 2**20 + b"'", "has more than 1,048,576 bytes"),
        (b"when: 2026-99-99\n", "can't be read as yaml"),
        (b"", "holds no keys"),
        (b"1: a\ndatasets: b\nmethods: c", "unknown key '1'"),
        (b"datasets: 3\nmethods: winclip", r"datasets\[0\] is 3 where text belongs"),
        (b"datasets: a\nmethods: {winclip: 3}", r"methods\[0\].winclip is unknown"),
        (b"datasets: a\nmethods: [{id: [1]}]", r"methods\[0\].id is \[1\] where text belongs"),
        (b"datasets: a\nmethods: [{id: w, settings: 3}]", r"settings is 3 where a mapping of names to values"),
        (b"datasets: a\nmethods: w\nstore: 3", "store is 3 where a path belongs"),
        (b"datasets: a\nmethods: w\nparameters: 3", "parameters is 3 where a mapping of names to values"),
        (b"datasets: a\nmethods: w\ncache_gb: .nan", "cache_gb is nan where a finite number belongs"),
        (b"datasets: a\nmethods: w\ncache_gb: true", "cache_gb is True where a number belongs"),
        (b"datasets: a\nmethods: w\nthreads: 0", "threads is 0 where a number of at least 1 belongs"),
        (b"datasets: " + b"[" * 10_000, "nested more than 50 levels"),
        (b"datasets: [" + b"a," * 110_000 + b"]", "holds more than 100,000 values"),
        ("datasets: a\nmethods: w".encode("utf-16-le"), "can't be read as yaml"),
        (b"datasets: a\xe9\nmethods: w", "can't be read as yaml"),
        (b"datasets: !!python/object/apply:os.getcwd []\nmethods: w", "can't be read as yaml"),
        (b"? [datasets]\n: a", "can't be read as yaml"),
        (b'datasets: "a\\0b"\nmethods: w', r"datasets\[0\] is .* where text of 1 to 4096 characters"),
        (b"datasets: " + b"a" * 5000 + b"\nmethods: w", r"datasets\[0\] is .* where text of 1 to 4096 characters"),
        (b"datasets: ['']\nmethods: w", r"datasets\[0\] is '' where text of 1 to 4096 characters"),
        (b'datasets: a\nmethods: w\nstore: "a\\0b"', "store is .* where text of 1 to 4096 characters"),
        (b"datasets: a\nmethods: w\nshots: 1" + b"0" * 40, r"shots\[0\] is 1000.* where a number of at most 100000"),
        (b"datasets: a\nmethods: w\nseeds: 99999999999", "seeds is 99999999999 where a number of at most"),
        (b"datasets: a\nmethods: w\nthreads: 5000", "threads is 5000 where a number of at most 1024"),
        (b"datasets: a\nmethods: w\nbatch_size: 9223372036854775807", "batch_size is .* where a number of at most"),
        (b"datasets: a\nmethods: w\nimage_size: 99999999", "image_size is 99999999 where a number of at most"),
        (b"datasets: a\nmethods: w\ncache_gb: 1.0e+300", r"cache_gb is 1e\+300 where a number of at most"),
        (b"datasets: a\nmethods: w\ndevice: null", "device is nothing where text belongs"),
    ],
)
def test_a_plan_that_cannot_be_used_says_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_bytes(content)
    with pytest.raises(PlanError, match=message) as caught:
        read_plan(plan, {})
    assert str(plan) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_method_may_leave_its_own_values_blank() -> None:
    options = make_options({"datasets": "a", "methods": {"id": "winclip", "settings": None, "shots": 2, "label": None}})
    assert options.methods == (MethodChoice("winclip", shots=(2,)),)
