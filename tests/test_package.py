"""The package: what it asks for, and the wheel in an environment that has never seen the checkout."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
IMAGE = "vlmad_core/datasets/bundled/bundled_a/capsule/test/crack/000.webp"
WITHOUT_APP = """
import json, sys
sys.modules.update(dict.fromkeys(("streamlit", "plotly", "altair")))
from vlmad_core.cli import main
for words in json.loads(sys.argv[1]):
    print("exit code", main(words), flush=True)
"""
"""Commands where the extra ``app`` was not installed; in one process, for the time that loading torch takes."""


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w-]+)==(\S+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in found}


def test_the_tested_versions_lie_in_the_ranges_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for wanted, locked in {
        "requirements.txt": [*project["dependencies"], *extras["app"], *extras["auth"]],
        "requirements-dev.txt": extras["dev"],
        "requirements-train.txt": extras["train"],
        "requirements-data.txt": extras["data"],
    }.items():
        asked = {Requirement(text).name.lower().replace("_", "-"): Requirement(text).specifier for text in locked}
        asked.pop("vlm-ad", None)  # another extra of the package's own
        assert asked.keys() == pins(wanted).keys(), wanted
        for name, version in pins(wanted).items():
            assert asked[name].contains(version), f"{name} {version} of {wanted}"


class Installed:
    """An environment with the wheel in it; what it needs comes from the environment the tests run in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.desk = folder / "desk"
        self.desk.mkdir()
        built = folder / "dist"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLMAD_", "PYTHON"))}
        self.environment = {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
        settings = folder / "build.cfg"  # so that nothing is written into the checkout
        settings.write_text(f"[build]\nbuild_base = {folder / 'build'}\n[egg_info]\negg_base = {folder}\n")
        # The source archive first and the wheel from it, as they would be published.
        self._do(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(ROOT)],
            DIST_EXTRA_CONFIG=str(settings),
        )
        (wheel,) = built.glob("*.whl")
        venv.create(folder / "venv", with_pip=False)
        self.scripts = folder / "venv" / SCRIPTS
        self.python = self.scripts / Path("python").with_suffix(".exe" if os.name == "nt" else "")
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-compile"]
        self._do([*pip, "--no-deps", "--no-index", str(wheel)])
        (place,) = (folder / "venv").rglob("site-packages")
        others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        (place / "others.pth").write_text("\n".join(others))
        self.package = place / "vlmad_core"

    def _do(self, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.desk, env={**self.environment, **more}, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    def run(self, *words: str) -> tuple[str, str]:
        """Give a command to the installed program; what it prints, and what it complains of."""
        done = self._do([str(word) for word in words])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, done.stderr

    def files(self) -> dict[str, int]:
        """What is in the installed package."""
        return {
            str(path): path.stat().st_mtime_ns
            for path in self.package.rglob("*")
            if path.suffix != ".pyc" and path.is_file()
        }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    pytest.importorskip("build", reason="the package build is not installed")
    one = Installed(tmp_path_factory.mktemp("package") / "installed")
    before = one.files()
    yield one
    assert one.files() == before, "an installed package is written to by nobody"


def test_doctor_finds_all_that_comes_along(installed: Installed) -> None:
    said, _ = installed.run(str(installed.scripts / "vlmad"), "doctor", "--offline", "--json")
    found = {finding["name"]: finding for finding in json.loads(said)}
    well = ("torch", "pandas", "streamlit", "plotly", "bundled backbone", "data sets")
    assert {name: found[name]["verdict"] for name in well} == dict.fromkeys(well, "ok")
    assert found["trained parameters"]["found"].startswith("4 in ")
    assert found[f"results in {installed.package / 'shipped' / 'results' / 'bundled'}"]["verdict"] == "ok"
    assert found["results in results"]["found"] == "none yet"
    assert installed.run(str(installed.scripts / "vlmad"), "--help")[0].startswith("usage: vlmad ")


def test_images_are_judged_and_results_made_without_the_dashboards_libraries(installed: Installed) -> None:
    image = str(installed.package.parent / IMAGE)
    commands = (
        ["predict", image, "--category", "capsule", "--method", "clip_cpe", "april_gan", "--out", "judged"],
        ["precompute", "--dataset", "bundled_a", "--method", "clip_ac", "--size", "smoke", "--categories", "capsule"],
        ["app"],
    )
    said, complained = installed.run(str(installed.python), "-c", WITHOUT_APP, json.dumps(commands))
    assert re.findall("exit code (.)", said) == ["0", "0", "1"]
    (judged,) = json.loads((installed.desk / "judged" / "result.json").read_text(encoding="utf-8"))["images"]
    assert [method["method"] for method in judged["methods"]] == ["clip_cpe:canonical", "april_gan:canonical"]
    assert all(method["verdict"] is not None for method in judged["methods"]), "thresholds come from the bundled run"
    (run,) = (installed.desk / "results" / "bundled_a").glob("*/run.json")
    assert json.loads(run.read_text(encoding="utf-8"))["provenance"]["code_version"] == "0.1.0"
    assert (run.parent / "capsule" / "unit.json").is_file()
    assert 'The dashboard needs streamlit and plotly. Run: pip install "vlm-ad[app]"' in complained


def test_the_wheel_holds_every_file_of_the_package(installed: Installed) -> None:
    ours = {path.relative_to(ROOT) for path in (ROOT / "vlmad_core").rglob("*") if path.is_file()}
    there = {Path(path).relative_to(installed.package.parent) for path in installed.files()}
    assert {path.as_posix() for path in ours - there if path.suffix != ".pyc"} == set()


def test_reported_numbers_are_there_and_no_foreign_package(installed: Installed) -> None:
    code = "from importlib.util import find_spec; from vlmad_core.analysis.reported import load_reported;"
    code += "from vlmad_core.analysis.sources import load_sources;"
    code += "print(len(load_reported()), len(load_sources()), find_spec('pages'), find_spec('tests'))"
    rows, sources, *others = installed.run(str(installed.python), "-c", code)[0].split()
    assert int(rows) > 1000
    assert int(sources) > 5
    assert others == ["None", "None"]


def test_the_dashboard_answers_and_shows_the_bundled_run(installed: Installed) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(installed.scripts / "vlmad"), "app", "--port", str(port), "--address", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=installed.desk, env=installed.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
                        assert answer.read() == b"ok"
                        break
                except OSError:
                    assert server.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.1)
        finally:
            server.kill()  # Streamlit may miss a gentler signal that comes while it starts
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "who ends the command ends the server"
    # What a visitor would see: the script itself, run in the installed environment.
    code = "from streamlit.testing.v1 import AppTest; from vlmad_core import paths\n"
    code += "app = AppTest.from_file(str(paths.app_file()), default_timeout=120).run()\n"
    code += "print([str(error.value) for error in app.exception], *[text.value for text in app.markdown])\n"
    shown, _ = installed.run(str(installed.python), "-c", code)
    assert shown.startswith("[]")
    assert "bundled_a" in shown
