"""The Dockerfile, which cannot be built where the tests run: what it may not do; its steps in a virtual environment."""

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
import requests
from tests.commands import in_process
from tests.e2e.conftest import draw_shapes

import image_context
from tlcli.errors import TlcliError

ROOT = Path(__file__).parents[1]
TOKEN = "0123456789abcdef0123"
MADE = "build/image"
"""What make image writes before the image is built."""


@dataclass(frozen=True)
class Instruction:
    """Of a Dockerfile."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """Of the JSON form, else of the shell's."""
        words: list[str] = json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)
        return words


def instructions() -> list[Instruction]:
    """All, in order, with lines that go on joined."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    return [Instruction(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def named(name: str, of: "list[Instruction] | None" = None) -> list[Instruction]:
    return [one for one in of or instructions() if one.name == name]


def last_stage() -> list[Instruction]:
    every = instructions()
    start = max(place for place, one in enumerate(every) if one.name == "FROM")
    return every[start:]


def test_it_has_only_known_instructions() -> None:
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {one.name for one in instructions()} <= known  # no ADD, which fetches addresses


def test_bases_are_pinned_and_equal() -> None:
    bases = [one.words[0] for one in named("FROM")]
    assert len(set(bases)) == 1  # the environment's Python is that of its base
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", bases[0])


def test_it_runs_without_rights() -> None:
    (user,) = named("USER", last_stage())
    numbers = [int(number) for number in user.value.split(":")]  # numbers, which orchestrators can check
    assert all(number >= 1000 for number in numbers)
    order = [one.name for one in last_stage()]
    assert "RUN" not in order
    assert order.index("USER") > max(place for place, name in enumerate(order) if name == "COPY")


def test_the_server_needs_a_token_and_gets_the_signals() -> None:
    (start,) = named("ENTRYPOINT")
    (given,) = named("CMD")
    assert start.words[:2] == ["tlcli", "serve"]
    assert "--token-file" in given.words
    assert all(one.value.startswith("[") for one in (start, given))  # no shell that would keep SIGTERM from it


def test_health_is_checked_by_python_on_the_port_that_is_exposed() -> None:
    (check,) = named("HEALTHCHECK")
    (port,) = named("EXPOSE")
    assert "CMD" in check.value
    assert not re.search(r"curl|wget", check.value)
    assert f"127.0.0.1:{port.value}/v2/health/ready" in check.value
    assert port.value in named("ENTRYPOINT")[0].words


def test_all_that_is_copied_is_in_the_context() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    for copied in named("COPY"):
        if copied.words[0].startswith("--from=build"):
            continue
        for source in copied.words[:-1]:
            assert source == MADE or (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern[1:]) for pattern in ignore if pattern.startswith("!")), source


def test_packages_are_pinned_and_training_is_left_out() -> None:
    (environment, *_) = named("ENV")
    assert "PIP_CONSTRAINT=/source/constraints.txt" in environment.words
    installed = [one.value for one in named("RUN") if "pip install" in one.value]
    assert installed
    assert all(re.search(r"\[serve\]", line) for line in installed)


def test_the_python_is_one_that_tlcli_takes() -> None:
    version = named("FROM")[0].words[0].split(":")[1].split("-")[0]
    classifiers = importlib.metadata.metadata("tlcli").get_all("Classifier") or []
    assert any(version.startswith(one.rpartition(" ")[2] + ".") for one in classifiers if "Python :: 3." in one)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    """What make image writes, of a run on drawn images."""
    folder = draw_shapes(tmp_path_factory.mktemp("image"))
    assert in_process(folder, session_cache)("train", "--config", "shapes.yaml").code == 0
    before = os.environ.get("TLCLI_CACHE")
    os.environ["TLCLI_CACHE"] = str(session_cache)
    try:
        image_context.write_context((folder / "runs/latest").resolve(), folder / "context")
    finally:
        os.environ.pop("TLCLI_CACHE")
        os.environ |= {"TLCLI_CACHE": before} if before else {}
    return folder / "context"


@pytest.mark.e2e
def test_the_context_has_the_run_and_its_graph_and_no_more(context: Path) -> None:
    (run,) = context.glob("runs/shapes/*")
    assert {one.name for one in run.iterdir()} == {"config.yaml", "run.json", "metrics.json", "model"}
    (graph,) = context.glob("cache/backbones/*")
    assert {"model.xml", "model.bin", "digests.json"} <= {one.name for one in graph.iterdir()}
    assert {one.name for one in context.iterdir()} == {"runs", "cache", image_context.MARK}
    for path in context.rglob("*"):
        assert path.stat().st_mode & stat.S_IROTH, path


@pytest.mark.e2e
def test_a_context_is_replaced_within_its_folder_and_nothing_else_is(context: Path, session_cache: Path) -> None:
    run, other = (context.parent / "runs/latest").resolve(), context.parent / "other"
    other.mkdir()
    (other / "precious").write_text("mine")
    for occupied in (other, context.parent / "runs"):
        with pytest.raises(TlcliError) as raised:
            image_context.write_context(run, occupied)
        assert raised.value.code == "usage.output_occupied"
    assert (other / "precious").read_text() == "mine"
    assert run.is_dir()
    before, (old,) = context.stat().st_ino, context.glob("runs/shapes/*")
    renamed = old.rename(old.with_name("older"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCLI_CACHE", str(session_cache))
        image_context.write_context(run, context)
    assert context.stat().st_ino == before
    assert old.is_dir()
    assert not renamed.exists()


@pytest.mark.e2e
def test_a_run_whose_files_changed_is_refused(context: Path, tmp_path: Path) -> None:
    (run,) = context.glob("runs/shapes/*")
    shutil.copytree(run, tmp_path / "run")
    with (tmp_path / "run/model/head.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(TlcliError):
        image_context.write_context(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def read_only(folder: Path) -> list[str]:
    """What begins a command line that cannot write into a folder: root can write whatever the modes are, but not into a
    mount that is read-only."""
    if os.geteuid():
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        return []
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && "
    prefix = ["unshare", "--mount", "sh", "-c"]
    if subprocess.run([*prefix, f"{mount} true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets root mount nothing")
    return [*prefix, f'{mount} exec "$@"', "sh"]


@pytest.mark.slow
def test_its_steps_serve_from_files_that_cannot_be_written(context: Path, tmp_path: Path) -> None:
    """Makes the environment as the Dockerfile does, but from the packages that are here, and starts its ENTRYPOINT."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    environment = tmp_path / "opt"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    wheel = "from hatchling.build import build_wheel; import sys; build_wheel(sys.argv[1])"
    given = {**os.environ, "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", wheel, tmp_path], cwd=ROOT, env=given, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(built, site, "zip")
    others = Path(str(importlib.metadata.distribution("numpy").locate_file("")))
    (site / "here.pth").write_text(f"{others}\n")
    model = tmp_path / "model"
    shutil.copytree(context, model)
    before = sorted(model.rglob("*"))
    (token := tmp_path / "token").write_text(TOKEN)
    words = ["0" if word == "8000" else word for word in named("ENTRYPOINT")[0].words[1:]]
    command = [str(environment / "bin/python"), "-m", "tlcli", *words, "--token-file", str(token), "--json"]
    command = [*read_only(model), *command]
    process = subprocess.Popen(
        command, cwd=model, env={**given, "TLCLI_CACHE": str(model / "cache")}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if '"url"' in line)
        url = re.sub(r"//[^:]+", "//127.0.0.1", json.loads(f"{{{line.strip().rstrip(',')}}}")["url"])
        assert requests.get(f"{url}/v2/health/ready", timeout=10).status_code == 200
        image = (context.parent / "shapes/dark/0.png").read_bytes()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        (answer,) = requests.post(f"{url}/predict", image, headers=headers, timeout=20).json()
        assert answer["best_guess"] in ("dark", "light")
        assert requests.post(f"{url}/predict", image, timeout=20).status_code == 401
    finally:
        process.terminate()
        rest = process.communicate(timeout=20)[0]
        assert process.returncode == 0, rest
        assert sorted(model.rglob("*")) == before
