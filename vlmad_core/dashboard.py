"""The app command: open the dashboard, from a checkout or from the installed package."""

from __future__ import annotations

import argparse
import importlib.util
import os
import runpy
import sys
from pathlib import Path

from vlmad_core import paths
from vlmad_core.errors import VlmadError

ADDRESS, PORT = "localhost", 8501
PORTS = 2**16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"where it answers (default {PORT})")
    parser.add_argument(
        "--address", default=ADDRESS, metavar="HOST", help=f"who may call: 0.0.0.0 for all (default {ADDRESS})"
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="results folder (default: VLMAD_STORE, or results)")


def run(args: argparse.Namespace) -> int:
    """Serve the dashboard until it is interrupted.

    Returns:
        0.

    Raises:
        VlmadError: If streamlit or plotly is not installed, or the dashboard is not there.
    """
    if not 0 < args.port < PORTS:
        raise VlmadError(f"There is no port {args.port}.", f"Give a number from 1 to {PORTS - 1}.")
    if args.store is not None:
        os.environ[paths.STORE] = str(args.store)
    _, _, module, *words = server_command(args.port, args.address)
    sys.argv = [module, *words]
    # In this process, so that whoever ends the command ends the server.
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def server_command(port: int, address: str = ADDRESS) -> list[str]:
    """What starts the server. It stays in the current folder; Streamlit reads its settings beside the script.

    Raises:
        VlmadError: If streamlit or plotly is not installed, or the dashboard is not there.
    """
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise VlmadError(f"The dashboard needs {' and '.join(missing)}.", f"Run: {paths.how_to_install('app')}")
    command = [sys.executable, "-m", "streamlit", "run", str(paths.app_file().with_name("asgi.py"))]
    return [*command, "--server.address", address, "--server.port", str(port)]
