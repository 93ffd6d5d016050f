"""How many threads are used, and what the processor can do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.system import cpu
from tlcli.system.cpu import cores, processor, threads, use_threads


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, no control group, no number of threads requested."""
    for name in ("TLCLI_THREADS", *cpu._LIBRARIES):
        monkeypatch.setenv(name, "")  # so that what is set below is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    monkeypatch.setattr(cpu, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("200000 100000", 2), ("10000 100000", 1), ("9900000 100000", 8),
     ("", 8), ("nonsense", 8), ("0 100000", 8)],
)  # fmt: skip
def test_the_quota_of_a_container_limits_the_cores(tmp_path: Path, limit: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 3)])
def test_version_1_of_control_groups_is_read_too(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cores() == expected


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/a.slice/b.service", {"a.slice/b.service": "300000 100000"}, 3),
        ("0::/a.slice/b.service", {"a.slice": "200000 100000", "a.slice/b.service": "max 100000"}, 2),
        ("0::/a.slice/b.service", {"a.slice": "200000 100000", "a.slice/b.service": "500000 100000"}, 2),
        ("0::/a.slice/b.service", {"other.slice": "100000 100000"}, 8),
        ("3:cpuset:/other.slice\n2:cpu,cpuacct:/a.slice\n0::/", {"other.slice": "100000 100000"}, 8),
    ],
)
def test_the_smallest_quota_of_all_parent_groups_holds(
    tmp_path: Path, own: str, limits: dict[str, str], expected: int
) -> None:
    (tmp_path / "own").write_text(own + "\n")
    for group, limit in limits.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "cpu.max").write_text(limit)
    assert cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot bind processes to cores")
def test_the_option_overrides_the_variable() -> None:
    program = (
        "import os; from tlcli.system.cpu import use_threads, threads\n"
        "os.environ['TLCLI_THREADS'] = '1'; use_threads(); assert threads() == 1\n"
        "use_threads(2); print(threads(), len(os.sched_getaffinity(0)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    all_cores = int(subprocess.check_output([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"]))
    assert shown.stdout.split() == [str(min(2, all_cores))] * 2


def test_a_process_bound_to_two_cores_uses_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    assert threads() == 2


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("100", 8), ("0", 8), ("many", 8), ("", 8)])
def test_the_variable_holds_up_to_the_cores(asked: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_THREADS", asked)
    assert threads() == expected


def test_libraries_are_not_limited_on_a_whole_machine() -> None:
    use_threads()
    assert not any(name in os.environ for name in cpu._LIBRARIES)


def test_libraries_are_limited_to_a_containers_quota_unless_the_user_limits_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    use_threads()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2"
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_the_option_limits_every_library_and_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    use_threads(1)
    assert all(os.environ[name] == "1" for name in cpu._LIBRARIES)
    shown = subprocess.run(
        [sys.executable, "-c", "from tlcli.system.cpu import threads; print(threads())"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout == "1\n"


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("model name : Some CPU\nflags : fpu avx2 fma amx_bf16\n\nflags : avx512f\n", ["amx_bf16", "avx2", "fma"]),
        ("Features : fp asimd asimddp i8mm\nflags2 : sve\n", ["asimd", "asimddp", "i8mm"]),
        ("model name : Some CPU\n", None),
        ("flags : fpu\n", []),
        ("\n:::\n", None),
    ],
)
def test_instruction_sets_are_those_that_the_system_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, has: list[str] | None
) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text)
    found = processor()
    assert found.instructions == has
    assert found.name


def test_without_linux_files_the_processor_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    assert processor().instructions is None
    assert processor().name
