"""What the wheel takes along from outside the package: the dashboard, and the results that come with the program.

All else stands in ``pyproject.toml``. The build copies these files into ``vlmad_core/shipped``, where
``vlmad_core.paths`` looks for them in an installed package; so git holds each once, and no folder ``pages`` is put
beside other people's packages.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("app.py", "asgi.py", "pages", ".streamlit", "results/bundled", "results/reported")
LOCAL = ("__pycache__", ".locks", "annotations", "secrets.toml")
"""Folders and files in them that belong to this machine."""


def shipped_files() -> list[str]:
    """All files that are taken along, relative to the checkout."""
    files = [file for name in SHIPPED for file in (Path(name).rglob("*") if Path(name).is_dir() else [Path(name)])]
    return sorted(file.as_posix() for file in files if file.is_file() and not set(LOCAL) & set(file.parts))


class BuildWithDashboard(build_py):
    """The usual build, with further data files; an editable installation takes them from where they lie."""

    def _get_data_files(self) -> list[tuple[str, str, str, list[str]]]:
        # The one list from which setuptools copies data files and names its outputs.
        target = Path(self.build_lib) / "vlmad_core" / "shipped"
        return [*super()._get_data_files(), ("vlmad_core", ".", str(target), shipped_files())]

    def get_source_files(self) -> list[str]:
        """What the source archive holds."""
        return [*super().get_source_files(), *shipped_files()]


setup(cmdclass={"build_py": BuildWithDashboard})
