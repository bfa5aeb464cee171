"""The command line. A command's module is loaded only when it is called, so that help is quick.

Exit codes: 0 done, 1 wrong use or a check failed, 2 some units failed, 128 and a signal's number where that ended it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import math
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from vlmad_core.errors import VlmadError
from vlmad_core.signals import Stopped, ending_in_order


@dataclass(frozen=True)
class Command:
    """A command: a module with ``add_arguments(parser)`` and ``run(args) -> int``, or a group of commands.

    Attributes:
        help: One line.
        module: Its module, or ``module:name`` of what has the two in a module of several commands; None for a group.
        commands: The group's commands.
        stopped: What to know of its work where a signal ended it: what is kept, and how to go on.
    """

    help: str
    module: str | None = None
    commands: Mapping[str, Command] | None = None
    stopped: str = "What it wrote is whole. Start it again to have the rest."

    def available(self) -> bool:
        """Whether its module is there and is a command; looked up without importing anything."""
        if self.module is None:
            return any(command.available() for command in (self.commands or {}).values())
        module, _, name = self.module.partition(":")
        file = Path(__file__).parent.parent.joinpath(*module.split(".")).with_suffix(".py")
        wanted = f"\n{name} = " if name else "\ndef add_arguments("
        return file.is_file() and wanted in file.read_text(encoding="utf-8")

    def load(self) -> Any:
        """What has ``add_arguments`` and ``run``."""
        module, _, name = (self.module or "").partition(":")
        loaded = importlib.import_module(module)
        return getattr(loaded, name) if name else loaded


UNITS = "Finished units are kept. Start the same command again to compute the rest."
EPOCHS = "What was saved last is kept. Start the same command with --resume to go on from there."

NO_PLACE = (
    errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EINVAL,
    errno.EACCES, errno.EPERM,
)  # fmt: skip
"""What the system says of a path at which there can't be what is looked for."""

LONGEST_ERROR = 300
"""Characters of a message that is not this program's own."""

WHOLE, LARGEST_WHOLE = re.compile(r"[+-]?[0-9]{1,10}"), 2**31 - 1
"""Whole numbers on the command line; libraries take no larger ones."""

COMMANDS: Mapping[str, Command] = {
    "precompute": Command("run methods on data sets and store the results", "vlmad_core.precompute", stopped=UNITS),
    "jobs": Command(
        "run plans in a process of their own, see how far they are, end them",
        "vlmad_core.workspace.cli",
        stopped="A job that was started goes on in its own process; see: python -m vlmad_core jobs list",
    ),
    "predict": Command("judge single images with several methods", "vlmad_core.live.cli"),
    "results": Command("list, show, verify, compare and tidy stored results", "vlmad_core.analysis.cli"),
    "reproduce": Command("compute a stored run again and say which numbers differ", "vlmad_core.reproduce"),
    "datasets": Command("list data sets, check one", "vlmad_core.datasets.cli"),
    "methods": Command("list methods and their cards", "vlmad_core.methods.cli"),
    "train": Command(
        "train what is trained",
        commands={
            "bundled": Command("the bundled CLIP", "vlmad_core.factory.clip.cli", stopped=EPOCHS),
            "april_gan": Command("APRIL-GAN's projections", "vlmad_core.training.cli:april_gan", stopped=EPOCHS),
            "anomaly_clip": Command("AnomalyCLIP's prompts", "vlmad_core.training.cli:anomaly_clip", stopped=EPOCHS),
        },
    ),
    "import": Command(
        "import results of other programs",
        "vlmad_core.exchange.cli",
        stopped="A run is imported whole or not at all; those before it are kept. Start the same command again.",
    ),
    "export": Command("leaderboards as tables, a run as maps", "vlmad_core.analysis.exports"),
    "study": Command("run all ablations and answer the six questions", "vlmad_core.analysis.study.cli", stopped=UNITS),
    "reported": Command("check what papers report, cite its sources", "vlmad_core.analysis.literature"),
    "report": Command("write a report", "vlmad_core.report.cli"),
    "bench": Command(
        "measure speed",
        commands={
            "methods": Command("latency, throughput and memory; the check of a card", "vlmad_core.bench.methods"),
            "metrics": Command("metrics against other implementations", "vlmad_core.bench.metrics"),
            "engine": Command("what sharing and the cache save, what an image costs", "vlmad_core.bench.engine"),
            "scaling": Command("how a run's time grows with all that it is made of", "vlmad_core.bench.scaling"),
            "app": Command("the dashboard", "vlmad_core.bench.app"),
            "live": Command("the live demo, from upload to verdicts", "vlmad_core.bench.live"),
            "starts": Command("how soon a fresh process answers", "vlmad_core.bench.starts"),
            "prompts": Command("from an edit of the words to new numbers", "vlmad_core.bench.prompts"),
        },
    ),
    "check-reference": Command("hold a method against reference outputs", "vlmad_core.methods.reference.cli"),
    "check-metrics": Command("hold the metrics against expected values", "vlmad_core.metrics.cli"),
    "app": Command("open the dashboard", "vlmad_core.dashboard"),
    "doctor": Command("look at this machine and say what to mend", "vlmad_core.doctor"),
}
"""All commands; those whose module is not there are not offered."""


class Parser(argparse.ArgumentParser):
    """An argument parser that exits with 1 on wrong use; 2 is for units that failed.

    Where an argument's type is ``int`` or ``float``, it takes plain numbers only that can be computed with.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", int, _whole)
        self.register("type", float, _number)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how it is used."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message if len(message) <= LONGEST_ERROR else message[:LONGEST_ERROR] + '...'}\n")


def _whole(text: str) -> int:
    if not WHOLE.fullmatch(text) or abs(int(text)) > LARGEST_WHOLE:
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if "_" in text or not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name; None to take it from the shell.

    Returns:
        The exit code.
    """
    with ending_in_order():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    started = _process_start() if arguments is None else time.time()
    for stream in (sys.stdout, sys.stderr):
        # A name that is no UTF-8 must not end a command in the middle of its output.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    # The script that an installed package brings is called vlmad; a checkout is run as a module.
    program = "vlmad" if Path(sys.argv[0]).stem == "vlmad" else "python -m vlmad_core"
    parser = Parser(prog=program, description="Compare vision-language methods for visual anomaly detection.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    try:
        module, depth = _mount(parser, COMMANDS, [word for word in given if not word.startswith("-")], program)
        try:
            args = parser.parse_args(given)
        except SystemExit as exit_request:
            return int(exit_request.code or 0)
        if module is None:
            parser.print_help(sys.stderr)
            return 1
        args.command_line = given[depth:]
        args.started = started
        code: int = module.run(args)
        return code
    except VlmadError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        stop = stop if isinstance(stop, Stopped) else Stopped(signal.SIGINT)
        with contextlib.suppress(OSError, ValueError):  # whoever read our output may have left
            print(f"\nstopped by {stop.name}. {_called(given).stopped}", file=sys.stderr, flush=True)
        return stop.code
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left
        return 1
    except OSError as error:  # nothing that a traceback explains
        if debug:
            raise
        print(f"error: {str(error)[:LONGEST_ERROR]}. {_mending(error)}", file=sys.stderr)
        return 1


def _mending(error: OSError) -> str:
    """What to do about what the system refuses: a path that can't be, else a full or read-only disk."""
    if error.errno in NO_PLACE:
        return "Check the path."
    return "See that there is room and may be written, then start the same command again; what is finished is kept."


def _called(given: Sequence[str]) -> Command:
    """The command that is called, as far as the words name one."""
    command = Command("", commands=COMMANDS)
    for word in given:
        command = (command.commands or {}).get(word, command)
    return command


def _process_start() -> float:
    """When this process began, so that a command's own account has its start-up in it."""
    import psutil

    return float(psutil.Process().create_time())


def _mount(
    parser: argparse.ArgumentParser, commands: Mapping[str, Command], words: Sequence[str], program: str
) -> tuple[Any, int]:
    """Offer the commands that are there, and load the one that is called, with its depth in the words."""
    offered = {name: command for name, command in commands.items() if command.available()}
    choices = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    called = words[0] if words else None
    found: tuple[Any, int] = (None, 0)
    for name, command in offered.items():
        sub = choices.add_parser(name, help=command.help, description=command.help, prog=f"{program} {name}")
        if name != called:
            continue
        if command.module is not None:
            runnable = command.load()
            runnable.add_arguments(sub)
            found = (runnable, 1)
        else:
            inner, depth = _mount(sub, command.commands or {}, words[1:], f"{program} {name}")
            found = (inner, depth + 1)
    return found
