from __future__ import annotations

import json

import torch

from vlmad_core.bench.prompts import edits, made_up_data
from vlmad_core.cli import main
from vlmad_core.prompt_lab import PromptBank, all_prompts, score_dataset
from vlmad_core.prompts import load_ensemble


def test_every_measured_edit_is_one(capsys):
    threads = torch.get_num_threads()
    assert main(["bench", "prompts", "--size", "smoke", "--repetitions", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert not report["judged"]
    assert {(row["method"], row["categories"]) for row in report["timings"]} == {
        ("clip_cpe", 1), ("clip_cpe", 2), ("winclip", 1), ("winclip", 2)
    }  # fmt: skip
    for row in report["timings"]:
        per_category = {"one state more": 22, "one template more": 11, "one template less": 0}[row["edit"]]
        assert row["strings"] == per_category * row["categories"]
        assert row["ok"] is None
        assert row["total"] >= row["text"] + row["scoring"]
    assert torch.get_num_threads() == threads


def test_edits_change_what_they_say_and_nothing_else():
    base = load_ensemble("winclip")
    counts = {"one state more": 22, "one template more": 11, "one template less": 0}
    known = set(all_prompts(base, ["nut"]))
    for name, ensembles in edits(base):
        new = [set(all_prompts(ensemble, ["nut"])) - known for ensemble in ensembles]
        assert [len(strings) for strings in new] == [counts[name]] * len(ensembles)
        assert not set.intersection(*new)


def test_made_up_data_can_be_scored_in_full():
    data = made_up_data(2, images=6, grid=5, width=8)
    bank = PromptBank(lambda prompts: torch.randn(len(prompts), 8, generator=torch.Generator().manual_seed(0)))
    for method in ("clip_cpe", "winclip"):
        result = score_dataset(data, load_ensemble("states"), bank, method)
        assert all(v.value is not None for c in result.categories.values() for v in c.values.values())
