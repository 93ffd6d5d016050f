"""The check for known vulnerabilities, by the real pip-audit on a local server that speaks OSV's protocol; the SBOM."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import vulnerabilities
from vulnerabilities import command, ignored, main, verdict

ROOT = Path(__file__).parents[1]
needs_pip_audit = pytest.mark.skipif(importlib.util.find_spec("pip_audit") is None, reason="pip-audit is not installed")
ADVISORY = {
    "id": "PYSEC-2099-1",
    "aliases": ["CVE-2099-0001"],
    "summary": "made for a test",
    "schema_version": "1.0.0",
    "affected": [
        {
            "package": {"name": "idna", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}
Osv = Callable[[bytes, int], str]


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[Osv]:
    """Starts a server that answers for idna, and with nothing for other packages; returns its address."""
    running: list[tuple[ThreadingHTTPServer, Thread]] = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def start(answer: bytes, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = answer if asked["package"]["name"] == "idna" else b"{}"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/v1/query"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pinned packages."""
    (tmp_path / "constraints.txt").write_text("# Pins\nidna==3.20\nsix==1.17.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.setattr(vulnerabilities, "ROOT", tmp_path)
    return tmp_path


@needs_pip_audit
def test_no_known_vulnerability_passes(osv: Osv, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([osv(b"{}", 200)]) == 0
    assert " 2 packages" in capsys.readouterr().out


@needs_pip_audit
def test_a_known_one_fails_with_package_version_advisory_and_remedy(
    osv: Osv, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = osv(json.dumps({"vulns": [ADVISORY]}).encode(), 200)
    assert main([address]) == 1
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert all(value in line for value in ("idna 3.20", "PYSEC-2099-1", "CVE-2099-0001", "99.0"))
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.vulnerabilities.ignore]\nCVE-2099-0001 = "tlcli never calls it"\n')
    assert main([address]) == 0
    out = capsys.readouterr().out
    assert all(value in out for value in ("CVE-2099-0001", "tlcli never calls it"))


@needs_pip_audit
@pytest.mark.parametrize(
    ("answer", "status"),
    [(b"<html>login</html>", 200), (b'{"unexpected": 1}', 200), (b"{}", 500)],
)
def test_malformed_answer_does_not_fail_the_check(
    osv: Osv, project: Path, capsys: pytest.CaptureFixture[str], answer: bytes, status: int
) -> None:
    assert main([osv(answer, status)]) == 0
    assert "not checked" in capsys.readouterr().out


@needs_pip_audit
def test_unreachable_service_does_not_fail_the_check(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert main([f"http://127.0.0.1:{closed.getsockname()[1]}/v1/query"]) == 0
    out = capsys.readouterr().out
    assert "not checked" in out
    assert "Connection" in out


@needs_pip_audit
def test_malformed_constraints_fail_the_check(osv: Osv, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "constraints.txt").write_text("idna>=3\n")
    assert main([osv(b"{}", 200)]) == 1
    assert "pip-audit failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "out", "err", "expected", "words"),
    [
        (0, '{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', "", 0, " 1 packages"),
        (1, '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X"}]}]}', "", 1, "a 1: X"),
        (0, '{"dependencies": [{"name": "a", "skip_reason": "odd"}]}', "", 0, " 0 packages"),
        (0, '{"dependencies": [{"name": "a", "skip_reason": "odd"}]}', "", 0, "a: skipped: odd"),
        (1, '{"dependencies": []}', "odd", 1, "1: odd"),
        (1, "", "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another", 0, "not checked"),
        (1, "", '  File "pip_audit/_service/osv.py"\nrequests.exceptions.SSLError: bad', 0, "SSLError: bad"),
        (1, "", "python: No module named pip_audit", 1, "No module named pip_audit"),
        (1, "[]", "", 1, "failed"),
        (0, "null", "", 1, "failed"),
    ],
)  # fmt: skip
def test_verdict_on_the_output_of_pip_audit(code: int, out: str, err: str, expected: int, words: str) -> None:
    found, lines = verdict(code, out, err)
    assert found == expected
    assert words in "\n".join(lines)


def test_service_without_an_end_does_not_fail_the_check(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vulnerabilities, "_ALL_SECONDS", 0.2)
    monkeypatch.setattr(vulnerabilities, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    assert main([]) == 0
    assert "not checked" in capsys.readouterr().out


def test_command_has_the_pins_and_the_ignored_advisories(tmp_path: Path) -> None:
    asked = command(tmp_path / "constraints.txt", {"CVE-1": "why"})
    assert asked[asked.index("--ignore-vuln") + 1] == "CVE-1"
    assert {"--no-deps", "--disable-pip"} <= set(asked)
    assert "--osv-url" not in asked


def test_every_ignored_advisory_has_its_reason() -> None:
    assert all(len(reason) > 10 for reason in ignored(ROOT / "pyproject.toml").values())


def test_constraints_are_names_with_exact_versions_in_order() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    assert pins == sorted(pins, key=str.lower)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.skipif(not (Path(sys.prefix) / "bin/cyclonedx-py").exists(), reason="cyclonedx-bom is not installed")
def test_make_sbom_lists_what_is_installed_with_versions_and_licences(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sbom.json"
    made = ["make", "--old-file=install", "sbom", f"VENV={sys.prefix}", f"SBOM={path}"]
    subprocess.run(made, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "tlcli"
    listed = {part["name"].lower(): part for part in document["components"]}
    for name in ("numpy", "openvino", "pillow", "safetensors", "scikit-learn", "tensorflow"):
        assert listed[name]["version"] == importlib.metadata.version(name)
        assert listed[name].get("licenses"), name
