"""VLM-AD: vision-language methods for visual anomaly detection, compared on equal terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmad_core.live.predict import predict

__all__ = ["predict"]


def __getattr__(name: str) -> Any:
    """Load ``predict`` when it is first used, so that importing the package stays quick."""
    if name == "predict":
        from vlmad_core.live.predict import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
