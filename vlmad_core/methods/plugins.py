"""Custom methods: from a Python file, or from an installed package's entry point.

A file is named on the command line (``--plugin FILE.py``) or in the environment variable ``VLMAD_PLUGINS``; a
package declares an entry point in the group ``vlmad.methods``. Either holds a class decorated with
``register_method``. It is the user's own code and runs as such: only name files you trust.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
import zlib
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from vlmad_core.errors import MethodError
from vlmad_core.methods.registry import list_methods
from vlmad_core.paths import add_plugin_files, expanded, plugin_files

ENTRY_POINT_GROUP = "vlmad.methods"


def load_plugin(path: Path) -> tuple[str, ...]:
    """Run a Python file that registers methods; a file already loaded is not run again.

    Args:
        path: The file.

    Returns:
        Names of the methods it added.

    Raises:
        MethodError: If it is no file, can't be run, or registers nothing.
    """
    path = expanded(path).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise MethodError(f"There is no plugin {path}.", "Give the path of a Python file.")
    name = f"vlmad_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if name in sys.modules:
        return ()
    before = set(list_methods())
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being run
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise MethodError(
            f"The plugin {path} can't be run: {type(error).__name__}: {error}",
            "Mend the file, or leave it out of --plugin and VLMAD_PLUGINS.",
        ) from error
    added = tuple(method for method in list_methods() if method not in before)
    if not added:
        del sys.modules[name]
        raise MethodError(f"The plugin {path} adds no method.", "Decorate its class with @register_method.")
    return added


def load_all_plugins() -> tuple[str, ...]:
    """Load what ``VLMAD_PLUGINS`` and installed packages bring; done when ``vlmad_core.methods`` is imported.

    Returns:
        A line for each plugin that can't be used; each is also a warning. The others are loaded all the same.
    """
    problems = []
    for path in plugin_files():
        try:
            load_plugin(path)
        except MethodError as error:
            problems.append(str(error))
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:
            problems.append(f"The entry point {entry.name!r} ({entry.value}) can't be loaded: {error}")
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return tuple(problems)


def add_plugin_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugin FILE.py`` to a command."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help="a Python file with a method of your own; may be given again",
    )


def use_plugins(paths: Iterable[Path]) -> None:
    """Load the files of ``--plugin``, and name them to processes started from here.

    Raises:
        MethodError: From the first that can't be used.
    """
    for path in paths:
        load_plugin(path)
        add_plugin_files([expanded(path).resolve()])
