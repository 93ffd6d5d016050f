"""docs/serve.md has every code that the server answers with."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_code_is_documented() -> None:
    sources = [path.read_text() for path in (ROOT / "src/tlcli/serving").glob("*.py")]
    raised = {code for text in sources for code in re.findall(r'"(serve\.[a-z0-9_]+)"', text)}
    documented = set(re.findall(r"`(serve\.[a-z0-9_]+)`", (ROOT / "docs/serve.md").read_text()))
    assert raised == documented
