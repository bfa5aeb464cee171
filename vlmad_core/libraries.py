"""Large libraries, loaded when something of them is first used.

So a command that computes nothing answers at once, and who uses the library without a dashboard need not have what
draws it. Names that stand in annotations only (``Tensor``) are imported where mypy alone looks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vlmad_core.errors import VlmadError
from vlmad_core.paths import how_to_install

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd
    import plotly.graph_objects as go
    import torch
    from scipy import ndimage, special, stats
    from torch import nn
    from torch.nn import functional as F


class OnUse:
    """Stands for a module until something of it is used.

    Args:
        name: The module's name.
        extra: The extra of the package that brings it; empty for what the program itself needs.
    """

    __slots__ = ("__dict__", "_extra", "_name")

    def __init__(self, name: str, extra: str = "") -> None:
        self._name, self._extra = name, extra

    def __getattr__(self, attribute: str) -> Any:
        """Load the module and give what was asked for.

        Raises:
            VlmadError: If it is not installed.
        """
        try:
            module = importlib.import_module(self._name)
        except ModuleNotFoundError as error:
            package = self._name.partition(".")[0]
            raise VlmadError(f"This needs {package}.", f"Run: {how_to_install(self._extra)}") from error
        self.__dict__ = module.__dict__  # from now on as quick as the module, and as it changes
        return getattr(module, attribute)


if not TYPE_CHECKING:
    alt, go = OnUse("altair", "app"), OnUse("plotly.graph_objects", "app")
    torch, nn, F = OnUse("torch"), OnUse("torch.nn"), OnUse("torch.nn.functional")
    ndimage, special, stats = OnUse("scipy.ndimage"), OnUse("scipy.special"), OnUse("scipy.stats")
    pd = OnUse("pandas")
