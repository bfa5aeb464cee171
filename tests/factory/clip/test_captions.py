from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer, CLIPTokenizer, CLIPTokenizerFast

from vlmad_core.factory.clip.captions import (
    ABNORMAL_STATES,
    NORMAL_STATES,
    RARE_STATES,
    USES,
    all_captions,
    caption_pair,
)
from vlmad_core.factory.clip.model import CONTEXT_LENGTH
from vlmad_core.factory.renderer.defects import TRAINING_DEFECTS
from vlmad_core.factory.renderer.pairs import DEFECT_PHRASES, TRAINING_NOUNS


def test_pairs_differ_in_state_only() -> None:
    rng = np.random.default_rng(0)
    claimed = []
    for _ in range(300):
        normal, abnormal = caption_pair(rng, "gear", "scratch", DEFECT_PHRASES)
        assert not normal.abnormal
        assert abnormal.abnormal
        assert normal.noun == abnormal.noun
        assert normal.noun in (None, "gear")
        assert normal.defects is None
        assert abnormal.defects is None or "scratch" in abnormal.defects
        if abnormal.defects == {"scratch"}:
            assert any(phrase in abnormal.text for phrase in DEFECT_PHRASES["scratch"])
        if normal.noun:
            assert "gear" in normal.text
            assert "gear" in abnormal.text
        claimed.append((normal.noun is not None, abnormal.defects == {"scratch"}))
    own, specific = np.mean(claimed, axis=0)
    assert own == pytest.approx(0.55, abs=0.1)
    assert specific == pytest.approx(0.4, abs=0.1)


def test_every_caption_fits(small_tokenizer: CLIPTokenizer) -> None:
    texts = list(all_captions(TRAINING_NOUNS, DEFECT_PHRASES))
    lengths = [len(ids) for ids in small_tokenizer(texts)["input_ids"]]
    assert max(lengths) <= CONTEXT_LENGTH
    assert len(set(texts)) == len(texts) or len(set(texts)) > 0.9 * len(texts)
    assert {"scratch", "bent"} <= set(TRAINING_DEFECTS)


def test_special_tokens_stand_where_clip_has_them(small_tokenizer: CLIPTokenizer) -> None:
    ids = small_tokenizer(["a photo of a gear.", "a"], padding=True)["input_ids"]
    last = len(small_tokenizer) - 1
    assert ids[0][0] == ids[1][0] == last - 1
    assert ids[0][-1] == last
    # Padding is the end token, as in CLIP.
    assert ids[1][2:] == [last] * (len(ids[1]) - 2)


def test_any_text_can_be_written(small_tokenizer: CLIPTokenizer) -> None:
    odd = "Ünüblich: 42 % of the 螺丝 🙂"
    ids = small_tokenizer(odd, add_special_tokens=False)["input_ids"]
    assert small_tokenizer.eos_token_id not in ids
    assert small_tokenizer.decode(ids).replace(" ", "") == odd.lower().replace(" ", "")


def test_the_files_load_by_the_usual_classes(small_tokenizer: CLIPTokenizer, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("saved")
    small_tokenizer.save_pretrained(folder)
    text = "a close-up photo of a damaged hazelnut."
    expected = small_tokenizer(text)["input_ids"]
    assert CLIPTokenizerFast.from_pretrained(folder)(text)["input_ids"] == expected
    (folder / "config.json").write_text('{"model_type": "clip"}')
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == expected


def test_rare_states_are_rare_only_when_asked_and_every_one_exists() -> None:
    def share(rare: float) -> float:
        rng = np.random.default_rng(0)
        pairs = [caption_pair(rng, "gear", "scratch", DEFECT_PHRASES, rare) for _ in range(400)]
        return sum("normal gear" in normal.text or "anomalous" in abnormal.text for normal, abnormal in pairs) / 400

    assert 0 < share(0.15) < 0.5 * share(1.0)
    assert set(RARE_STATES) <= {*NORMAL_STATES, *ABNORMAL_STATES}


def test_a_word_is_said_only_of_defects_it_fits() -> None:
    rng = np.random.default_rng(0)
    texts = [caption_pair(rng, "gear", "stain", DEFECT_PHRASES)[1].text for _ in range(300)]
    assert not any("broken" in text or "damage" in text for text in texts)
    assert any("with flaw" in text for text in texts)
    assert all(uses <= set(DEFECT_PHRASES) for uses in USES.values())


def test_a_noun_that_fits_everything_claims_nothing() -> None:
    rng = np.random.default_rng(0)
    assert all(caption_pair(rng, "part", "hole", DEFECT_PHRASES)[0].noun is None for _ in range(50))
