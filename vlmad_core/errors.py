"""The errors this package raises on purpose.

Each names the thing, the place and the fix, so that a page or the command line can show it as it stands.
"""

from __future__ import annotations


class VlmadError(Exception):
    """A problem the user can understand and mend.

    Args:
        problem: What is wrong, naming the thing and the place (a path, a name, a setting).
        fix: What to do about it, as a sentence in the imperative.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem} {fix}".strip())


class DatasetError(VlmadError):
    """A data set, image or mask can't be read as what it claims to be."""


class BackboneError(VlmadError):
    """A backbone can't be found, fetched, converted or used as asked."""


class MethodError(VlmadError):
    """A method or a setting is unknown, or asked for what it can't do."""


class MetricError(VlmadError):
    """Scores and truth can't be compared as given."""


class StoreError(VlmadError):
    """A results store, run or unit can't be read or written."""


class AccessError(VlmadError):
    """Signing in is not set up as it must be, or somebody is not allowed what he asks for."""
