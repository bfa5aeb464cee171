"""Plotly and Altair, loaded when a figure is made: who uses the library without a dashboard need not have them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vlmad_core.errors import VlmadError
from vlmad_core.paths import how_to_install

if TYPE_CHECKING:
    import altair as alt
    import plotly.graph_objects as go


class OnUse:
    """Stands for a module until something of it is used.

    Args:
        name: The module's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Load the module and give what was asked for.

        Raises:
            VlmadError: If it is not installed.
        """
        try:
            return getattr(importlib.import_module(self._name), attribute)
        except ModuleNotFoundError as error:
            package = self._name.partition(".")[0]
            raise VlmadError(f"Figures need {package}.", f"Run: {how_to_install('app')}") from error


if not TYPE_CHECKING:
    alt, go = OnUse("altair"), OnUse("plotly.graph_objects")
