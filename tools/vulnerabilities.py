"""Checks constraints.txt against the advisories of OSV with pip-audit: python tools/vulnerabilities.py [ADDRESS]

The exit code is 1 where a pinned version has a known vulnerability, and 0 where none has, or where the advisories are
unavailable, which is printed. An advisory that does not concern tlcli is ignored by a line in pyproject.toml:
``[tool.vulnerabilities.ignore]``, ``ID = "why"``.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_CONNECT_SECONDS = 5
_ALL_SECONDS = 180
"""For some hundred requests, one after the other."""


def ignored(project: Path) -> dict[str, str]:
    """Advisories to ignore, each with its reason."""
    with project.open("rb") as file:
        tools = tomllib.load(file).get("tool", {})
    found: dict[str, str] = tools.get("vulnerabilities", {}).get("ignore", {})
    return found


def command(constraints: Path, to_ignore: Mapping[str, str], address: str = "") -> list[str]:
    """The command that queries the advisories; only names and versions leave this machine, and nothing is resolved."""
    given = ["--requirement", str(constraints), "--no-deps", "--disable-pip", "--format", "json"]
    service = ["--vulnerability-service", "osv", *(["--osv-url", address] if address else [])]
    quietly = ["--timeout", str(_CONNECT_SECONDS), "--progress-spinner", "off", "--desc", "off"]
    ignore = [word for name in to_ignore for word in ("--ignore-vuln", name)]
    return [sys.executable, "-m", "pip_audit", *given, *service, *quietly, *ignore]


def verdict(code: int, out: str, err: str) -> tuple[int, list[str]]:
    """Exit code and lines to print, from the exit code and output of pip-audit."""
    last = err.strip().rpartition("\n")[2].strip()
    try:
        packages = json.loads(out)["dependencies"]
        lines = list(_findings(packages))
        skipped = [f"  {one['name']}: skipped: {one['skip_reason']}" for one in packages if "skip_reason" in one]
    except (ValueError, LookupError, TypeError):
        if "_service" in err or "may be blocking this service" in err:  # of its requests; elsewhere it is a fault
            return 0, [f"Vulnerabilities: not checked, the advisories are unavailable ({last or 'no reason given'})"]
        return 1, ["Vulnerabilities: pip-audit failed:", *err.strip().splitlines()[-5:]]
    if lines:
        return 1, [f"Vulnerabilities: {len(lines)} known in constraints.txt:", *lines]
    if code:
        return 1, [f"Vulnerabilities: pip-audit ended with {code}: {last}"]
    asked = len(packages) - len(skipped)
    return 0, [f"Vulnerabilities: none known in the {asked} packages of constraints.txt", *skipped]


def _findings(packages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for package in packages:
        for one in package.get("vulns", ()):
            names = ", ".join([one["id"], *one.get("aliases", ())])
            fixed = " or ".join(one.get("fix_versions", ())) or "no version yet"
            yield f"  {package['name']} {package['version']}: {names}; fixed in {fixed}"


def main(arguments: Sequence[str]) -> int:
    """Runs the check and prints its result; returns the exit code."""
    to_ignore = ignored(ROOT / "pyproject.toml")
    for name, reason in to_ignore.items():
        print(f"Vulnerabilities: {name} is ignored: {reason}")
    asking = command(ROOT / "constraints.txt", to_ignore, *arguments[:1])
    try:
        done = subprocess.run(asking, capture_output=True, text=True, timeout=_ALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        print(f"Vulnerabilities: not checked, the advisories took longer than {_ALL_SECONDS} s")
        return 0
    code, lines = verdict(done.returncode, done.stdout, done.stderr)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
