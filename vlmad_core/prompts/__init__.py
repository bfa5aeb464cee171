"""Prompt ensembles, as data, and the text prototypes made of them."""

from vlmad_core.prompts.ensemble import (
    PromptEnsemble,
    PromptError,
    list_ensembles,
    load_ensemble,
    read_ensemble,
)

__all__ = ["PromptEnsemble", "PromptError", "list_ensembles", "load_ensemble", "read_ensemble"]
