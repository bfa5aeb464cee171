"""Prompt ensembles, as data, and the text prototypes made of them."""

from vlmad_core.prompts.checks import PhraseProblem, problem_of, read_phrases
from vlmad_core.prompts.ensemble import (
    PromptEnsemble,
    PromptError,
    Tuning,
    compose,
    load_ensemble,
    parse_ensemble,
    read_ensemble,
    to_yaml,
    tuning_warning,
)
from vlmad_core.prompts.places import list_ensembles, saved_names
from vlmad_core.prompts.saved import (
    EnsembleEntry,
    available_ensembles,
    ensemble_label,
    ensemble_of_label,
    save_ensemble,
    tidy_name,
)

__all__ = [
    "EnsembleEntry",
    "PhraseProblem",
    "PromptEnsemble",
    "PromptError",
    "Tuning",
    "available_ensembles",
    "compose",
    "ensemble_label",
    "ensemble_of_label",
    "list_ensembles",
    "load_ensemble",
    "parse_ensemble",
    "problem_of",
    "read_ensemble",
    "read_phrases",
    "save_ensemble",
    "saved_names",
    "tidy_name",
    "to_yaml",
    "tuning_warning",
]
