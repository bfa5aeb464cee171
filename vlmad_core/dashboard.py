"""The app command: open the dashboard, from a checkout or from the installed package."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from vlmad_core import paths
from vlmad_core.errors import VlmadError

ADDRESS, PORT = "localhost", 8501


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"where it answers (default {PORT})")
    parser.add_argument(
        "--address", default=ADDRESS, metavar="HOST", help=f"who may call: 0.0.0.0 for all (default {ADDRESS})"
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="results folder (default: results)")


def run(args: argparse.Namespace) -> int:
    """Serve the dashboard until it is interrupted.

    Returns:
        The server's exit code.

    Raises:
        VlmadError: If streamlit or plotly is not installed, or the dashboard is not there.
    """
    environment = {**os.environ, **({paths.STORE: str(args.store)} if args.store else {})}
    with subprocess.Popen(server_command(args.port, args.address), env=environment) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:  # the server heard it too, and ends by itself
            return server.wait()


def server_command(port: int, address: str = ADDRESS) -> list[str]:
    """What starts the server. It stays in the current folder; Streamlit reads its settings beside the script.

    Raises:
        VlmadError: If streamlit or plotly is not installed, or the dashboard is not there.
    """
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise VlmadError(f"The dashboard needs {' and '.join(missing)}.", 'Run: pip install "vlm-ad[app]"')
    command = [sys.executable, "-m", "streamlit", "run", str(paths.app_file())]
    return [*command, "--server.address", address, "--server.port", str(port)]
