"""The prompt lab: change the words, and see at once what it does to a whole data set.

Features stay in memory, so an edit costs the text tower's pass over the strings that changed, some products of
matrices, and the metrics.
"""

from vlmad_core.prompt_lab.comparing import Change, Changes, compare_results
from vlmad_core.prompt_lab.effects import Effect, category_effects, dataset_effects
from vlmad_core.prompt_lab.material import (
    EVAL_SIZE,
    LabCategory,
    LabData,
    count_cached,
    lab_bytes,
    lab_samples,
    load_lab_data,
)
from vlmad_core.prompt_lab.scoring import (
    LAB_METHODS,
    CategoryResult,
    LabResult,
    PromptBank,
    all_prompts,
    lab_request,
    score_category,
    score_dataset,
)
from vlmad_core.prompt_lab.suggest import Pool, Suggestion, default_pool, suggest

__all__ = [
    "EVAL_SIZE",
    "LAB_METHODS",
    "CategoryResult",
    "Change",
    "Changes",
    "Effect",
    "LabCategory",
    "LabData",
    "LabResult",
    "Pool",
    "PromptBank",
    "Suggestion",
    "all_prompts",
    "category_effects",
    "compare_results",
    "count_cached",
    "dataset_effects",
    "default_pool",
    "lab_bytes",
    "lab_request",
    "lab_samples",
    "load_lab_data",
    "score_category",
    "score_dataset",
    "suggest",
]
