"""Kaggle's real client against a stand-in for Kaggle: the right bytes, or words that help; and never a secret."""

import base64
import json
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from time import monotonic

import pytest
from tests.datasets.acquire.kaggle_server import (
    KEY,
    REFRESH,
    SIGNATURE,
    TOKEN,
    Answer,
    Competition,
    Dataset,
    Kaggle,
    serving,
)

from tlcli.datasets.acquire.downloads.download import download
from tlcli.datasets.acquire.downloads.retries import RetryPolicy
from tlcli.datasets.acquire.sources.kaggle import offers
from tlcli.datasets.acquire.sources.kaggle.account import Account, find_accounts
from tlcli.datasets.acquire.sources.source import Offer
from tlcli.errors import NetworkError
from tlcli.progress import SILENT, Progress

SLUG = "owner/cat-images"
BASIC = base64.b64encode(f"someone:{KEY}".encode()).decode()
SECRETS = (TOKEN, KEY, REFRESH, SIGNATURE, BASIC)
POLICY = RetryPolicy(connect=5, read=5, response=10, silence=10, tries=2, backoff=0.01)
HASTY = RetryPolicy(connect=0.2, read=0.3, response=0.5, silence=0.5, tries=2, backoff=0.01)
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = "<!DOCTYPE html><title>Welcome to the hotel</title>"


class Listening(Progress):
    """Remembers notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and an environment without any, too."""
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy") or name == "XDG_CONFIG_HOME":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def kaggle(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """Kaggle, with a public data set of three versions, a private one, and a competition."""
    chance = random.Random(1)
    paths = {}
    for name in ("1.zip", "2.zip", "3.zip", "private.zip", "competition.zip", "list.csv", "boxes.json", "about.html"):
        paths[name] = tmp_path / name
        paths[name].write_bytes(b"[1, 2]" if name.endswith("json") else b"PK" + chance.randbytes(5000))
    files = {f"tables/{name}": paths[name] for name in ("list.csv", "boxes.json", "about.html")}
    public = Dataset({number: paths[f"{number}.zip"] for number in (1, 2, 3)}, files)
    private = Dataset({1: paths["private.zip"]}, private=True)
    competition = Competition(paths["competition.zip"], {"list.csv": paths["list.csv"]})
    served = Kaggle({"owner/cat-images": public, "owner/secret": private}, {"cats-or-dogs": competition})
    with serving(served):
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Listening]:
    """Listens; whatever was told, or is on disk at the end, holds no secret."""
    listening = Listening()
    yield listening
    check_holds_no_secret("\n".join(listening.notes))
    for path in tmp_path.glob("out/**/.*"):
        check_holds_no_secret(path.read_bytes().decode(errors="replace"))


def check_holds_no_secret(text: str) -> None:
    assert not [secret for secret in SECRETS if secret in text]


def dataset_offer(
    slug: str = SLUG,
    version: int | None = None,
    files: tuple[str, ...] = (),
    policy: RetryPolicy = POLICY,
    progress: Progress = SILENT,
) -> Offer:
    return offers.dataset_offer(slug, files, version, policy, progress)


@dataclass
class Fetching:
    """Downloads as fetch does."""

    folder: Path
    heard: Listening

    def dataset(
        self, slug: str = SLUG, version: int | None = None, file: str = "", policy: RetryPolicy = POLICY
    ) -> bytes:  # fmt: skip
        files = (file,) if file else ()
        return self.of(dataset_offer(slug, version, files, policy, self.heard), policy)

    def competition(self, name: str = "cats-or-dogs", file: str = "", policy: RetryPolicy = POLICY) -> bytes:
        files = (file,) if file else ()
        return self.of(offers.competition_offer(name, files, policy, self.heard), policy)

    def of(self, offer: Offer, policy: RetryPolicy = POLICY) -> bytes:
        (file,) = offer.files
        target = self.folder / "download"
        target.unlink(missing_ok=True)
        download(file, target, policy, self.heard)
        return target.read_bytes()


@pytest.fixture
def fetch(tmp_path: Path, heard: Listening) -> Fetching:
    return Fetching(tmp_path / "out", heard)


def refusal(call: Callable[[], object]) -> NetworkError:
    """The error of a refusal; no secret is in it, nor in what is printed of it with all its causes."""
    with pytest.raises(NetworkError) as raised:
        call()
    check_holds_no_secret("".join(traceback.format_exception(raised.value)))
    return raised.value


def code(call: Callable[[], object]) -> str:
    """The code of a refusal."""
    return refusal(call).code


# -- Who asks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A way of authenticating."""

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    expected: str = f"Bearer {TOKEN}"

    def prepare(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value.replace("HOME", str(home)))
        for name, text in self.files.items():
            write(home / name, text)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def signed_in(hours: float, refresh_token: str = REFRESH, token: str = TOKEN) -> str:
    """credentials.json of ``kaggle auth login``, with a token that is valid that long."""
    expires = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    stored = {"refresh_token": refresh_token, "access_token": token, "access_token_expiration": expires}
    return json.dumps({**stored, "username": "someone", "scopes": ["resources.admin:*"]})


PAIR = json.dumps({"username": "someone", "key": KEY})
FILE = {".kaggle/kaggle.json": PAIR}
ON_KAGGLE = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "KAGGLE_DATA_PROXY_URL": "https://dp.kaggle.net"}
WAYS = {
    "token": Way({"KAGGLE_API_TOKEN": TOKEN}, {}, "KAGGLE_API_TOKEN"),
    "token with a line end": Way({"KAGGLE_API_TOKEN": f" {TOKEN}\n"}, {}, "KAGGLE_API_TOKEN"),
    "token in a named file": Way({"KAGGLE_API_TOKEN": "HOME/my token"}, {"my token": f"{TOKEN}\n"}, "KAGGLE_API_TOKEN"),
    "access_token": Way({}, {".kaggle/access_token": f"{TOKEN}\n"}, "HOME/.kaggle/access_token"),
    "access_token.txt": Way({}, {".kaggle/access_token.txt": f"\ufeff{TOKEN}\r\n"}, "HOME/.kaggle/access_token.txt"),
    "access_token is empty": Way(
        {}, {".kaggle/access_token": "\n", ".kaggle/access_token.txt": TOKEN}, "HOME/.kaggle/access_token.txt"
    ),
    "on Kaggle": Way({**ON_KAGGLE, "KAGGLE_API_V1_TOKEN": "HOME/v1"}, {"v1": TOKEN}, "KAGGLE_API_V1_TOKEN"),
    "kaggle.json": Way({}, FILE, "HOME/.kaggle/kaggle.json", f"Basic {BASIC}"),
    "config folder": Way(
        {"KAGGLE_CONFIG_DIR": "HOME/mine"}, {"mine/kaggle.json": PAIR}, "HOME/mine/kaggle.json", f"Basic {BASIC}"
    ),
    "XDG_CONFIG_HOME": Way(
        {"XDG_CONFIG_HOME": "HOME/x"}, {"x/kaggle/kaggle.json": PAIR}, "HOME/x/kaggle/kaggle.json", f"Basic {BASIC}"
    ),
    ".config": Way({}, {".config/kaggle/kaggle.json": PAIR}, "HOME/.config/kaggle/kaggle.json", f"Basic {BASIC}"),
    "user and key": Way({"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": KEY}, {}, "KAGGLE_KEY", f"Basic {BASIC}"),
    "user given, key in file": Way(
        {"KAGGLE_USERNAME": "someone"},
        {".kaggle/kaggle.json": json.dumps({"username": "else", "key": KEY})},
        "HOME/.kaggle/kaggle.json",
        f"Basic {BASIC}",
    ),
    "user in file, key given": Way(
        {"KAGGLE_KEY": KEY},
        {".kaggle/kaggle.json": json.dumps({"username": "someone", "key": "old"})},
        "KAGGLE_KEY",
        f"Basic {BASIC}",
    ),
    "signed in": Way({}, {".kaggle/credentials.json": signed_in(hours=1)}, "HOME/.kaggle/credentials.json"),
    "signed in long ago": Way(
        {}, {".kaggle/credentials.json": signed_in(hours=-1, token="old")}, "HOME/.kaggle/credentials.json"
    ),
    "signed in, no date": Way(
        {}, {".kaggle/credentials.json": json.dumps({"refresh_token": REFRESH})}, "HOME/.kaggle/credentials.json"
    ),
}  # fmt: skip


def test_public_dataset_needs_no_token(kaggle: Kaggle, heard: Listening, fetch: Fetching, tmp_path: Path) -> None:
    offer = dataset_offer(progress=heard)

    assert (offer.version, offer.licence) == ("3", "CC-BY-SA-4.0")
    assert offer.files[0].name == "cat-images.zip"
    assert fetch.of(offer) == (tmp_path / "3.zip").read_bytes()
    assert kaggle.authorizations == [("GetDataset", ""), ("DownloadDataset", ""), ("Storage", "")]
    assert heard.notes == []


def test_passwords_of_netrc_are_not_for_kaggle(
    kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".netrc", "machine localhost login me password SECRET\n")
    monkeypatch.setenv("NETRC", str(home / ".netrc"))

    assert fetch.dataset()
    assert {given for _, given in kaggle.authorizations} == {""}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_authenticating(
    name: str, kaggle: Kaggle, fetch: Fetching, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = WAYS[name]
    way.prepare(home, monkeypatch)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    account = next(find_accounts(fetch.heard))
    assert account.origin == way.origin.replace("HOME", str(home))
    check_holds_no_secret(repr(account))

    assert fetch.dataset("owner/secret") == (tmp_path / "private.zip").read_bytes()

    api = {given for method, given in kaggle.authorizations if method in ("GetDataset", "DownloadDataset")}
    assert api == {way.expected}
    assert {given for method, given in kaggle.authorizations if method == "Storage"} == {""}
    assert ("GenerateAccessToken" in kaggle.asked) == (name in ("signed in long ago", "signed in, no date"))
    assert kaggle.asked.count("GenerateAccessToken") <= 1
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    assert fetch.heard.notes == []


def test_order_is_that_of_the_kaggle_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".kaggle" / "access_token", "file")
    write(home / ".kaggle" / "access_token.txt", "text")
    write(home / ".kaggle" / "kaggle.json", PAIR)
    write(home / ".kaggle" / "credentials.json", signed_in(1))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "given")

    def found() -> list[str | None]:
        return [account.token or account.key for account in find_accounts(Progress())]

    assert found() == ["given", KEY, TOKEN]
    monkeypatch.setenv("KAGGLE_API_TOKEN", "")
    assert found() == ["file", KEY, TOKEN]
    (home / ".kaggle" / "access_token").unlink()
    assert found() == ["text", KEY, TOKEN]
    (home / ".kaggle" / "access_token.txt").unlink()
    assert found() == [KEY, TOKEN]
    monkeypatch.setenv("KAGGLE_KEY", "given")
    assert found() == ["given", TOKEN]
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home))
    assert found() == [TOKEN]  # a key, and no user name with it
    (home / ".kaggle" / "credentials.json").unlink()
    assert found() == []


@pytest.mark.parametrize(
    "way",
    [
        Way({"KAGGLE_API_TOKEN": TOKEN, "KAGGLE_USERNAME": "someone", "KAGGLE_KEY": KEY}, FILE),
        Way({"KAGGLE_KEY": KEY}, {".kaggle/kaggle.json": json.dumps({"username": "someone", "key": "old"})}),
        Way({}, {**FILE, ".kaggle/credentials.json": signed_in(1)}),
        Way({}, {".kaggle/credentials.json": signed_in(1)}),
    ],
    ids=["token first", "key of the environment", "kaggle.json before sign-in", "sign-in"],
)
def test_kaggles_own_command_sends_the_same(
    way: Way, kaggle: Kaggle, fetch: Fetching, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.prepare(home, monkeypatch)

    run_kaggle("datasets", "download", "owner/secret", "-p", str(tmp_path / "theirs"))
    theirs = dict(kaggle.authorizations)
    fetch.dataset("owner/secret")

    assert (tmp_path / "theirs" / "secret.zip").read_bytes() == (tmp_path / "private.zip").read_bytes()
    assert dict(kaggle.authorizations)["DownloadDataset"] == theirs["DownloadDataset"] != ""


def run_kaggle(*arguments: str) -> None:
    command = [sys.executable, "-m", "kaggle", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("length", [255, 256, 400, 5000])
def test_token_may_be_longer_than_a_file_name(
    length: int, kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "x" * length)

    assert fetch.dataset()  # refused here, and then nobody looks for it again
    assert kaggle.authorizations[:2] == [("GetDataset", f"Bearer {'x' * length}"), ("GetDataset", "")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAGGLE_API_TOKEN", f"{TOKEN}\n{TOKEN}"),
        ("KAGGLE_API_TOKEN", f"token {TOKEN}"),
        ("KAGGLE_API_TOKEN", f"\u201c{TOKEN}\u201d"),
        ("KAGGLE_API_TOKEN", f"/nowhere/{TOKEN}"),
        ("KAGGLE_API_TOKEN", f"~/{TOKEN}"),
        ("KAGGLE_KEY", f"{KEY}\r\nX-Header: {KEY}"),
        ("KAGGLE_USERNAME", "\u0416"),
    ],
)
def test_malformed_token_is_refused_and_not_shown(
    name: str, value: str, kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".kaggle" / "kaggle.json", PAIR)
    monkeypatch.setenv(name, value)

    error = refusal(fetch.dataset)
    assert error.code == "network.kaggle_token_malformed"
    assert ("kaggle.json" if name == "KAGGLE_USERNAME" else name) in error.message
    assert kaggle.asked == []


@pytest.mark.parametrize(
    ("file", "content", "notes"),
    [
        ("kaggle.json", b'{"username": "someone", "key": ', 1),
        ("kaggle.json", b'["someone"]', 1),
        ("kaggle.json", PAIR.encode("utf-16"), 1),
        ("kaggle.json", json.dumps({"key": KEY}).encode(), 1),
        ("access_token", TOKEN.encode("utf-16"), 1),
        ("credentials.json", b"null", 1),
        ("kaggle.json", b"", 0),
        ("credentials.json", b'{"refresh_token": ""}', 0),
    ],
)
def test_malformed_files_are_named_and_ignored(
    file: str, content: bytes, notes: int, kaggle: Kaggle, fetch: Fetching, home: Path
) -> None:
    write(home / ".kaggle" / file, "")
    (home / ".kaggle" / file).write_bytes(content)

    assert fetch.dataset()

    assert len(fetch.heard.notes) == notes
    assert all(str(home / ".kaggle" / file) in note for note in fetch.heard.notes)
    assert {given for _, given in kaggle.authorizations} == {""}


def test_folder_in_place_of_a_file_is_named_and_ignored(
    kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".kaggle" / "kaggle.json").mkdir(parents=True)
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(home))

    assert fetch.dataset()
    first, second = fetch.heard.notes
    assert str(home) in first
    assert str(home / ".kaggle" / "kaggle.json") in second


@pytest.mark.parametrize("name", ["access_token", "access_token.txt", "kaggle.json", "credentials.json", "my token"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644])
def test_files_that_others_can_read_are_named(
    name: str, mode: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / ".kaggle" / name
    write(path, {"kaggle.json": PAIR, "credentials.json": signed_in(1)}.get(name, TOKEN), mode)
    if name == "my token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(path))
    heard = Listening()

    assert next(find_accounts(heard)).origin in (str(path), "KAGGLE_API_TOKEN")

    shown = f"'{path}'" if " " in name else str(path)
    assert [note.partition("chmod ")[2] for note in heard.notes] == ([] if mode == 0o600 else [f"600 {shown}"])


def test_repr_of_an_account_shows_no_secret() -> None:
    assert repr(Account("here", TOKEN, "someone", KEY, REFRESH)) == "Account(origin='here', username='someone')"


def test_refused_token_is_named_and_public_data_comes_without(
    kaggle: Kaggle, fetch: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_revoked")

    assert fetch.dataset() == (tmp_path / "3.zip").read_bytes()
    (note,) = fetch.heard.notes
    assert "KAGGLE_API_TOKEN" in note
    assert kaggle.authorizations == [
        ("GetDataset", "Bearer KGAT_revoked"), ("GetDataset", ""), ("DownloadDataset", ""), ("Storage", "")
    ]  # fmt: skip


def test_refused_token_gives_way_to_the_next(
    kaggle: Kaggle, fetch: Fetching, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_revoked")
    write(home / ".kaggle" / "kaggle.json", json.dumps({"username": "someone", "key": "old"}))
    write(home / ".kaggle" / "credentials.json", signed_in(-1))

    assert fetch.competition() == (tmp_path / "competition.zip").read_bytes()
    pair, sign_in = home / ".kaggle" / "kaggle.json", home / ".kaggle" / "credentials.json"
    first, second = fetch.heard.notes
    assert "KAGGLE_API_TOKEN" in first
    assert str(pair) in first
    assert str(pair) in second
    assert str(sign_in) in second


@pytest.mark.parametrize("asks_for", ["dataset", "competition"])
def test_refused_token_where_one_is_needed(
    asks_for: str, kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".kaggle" / "credentials.json", signed_in(-1, refresh_token="over"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_revoked")

    error = refusal(fetch.competition if asks_for == "competition" else lambda: fetch.dataset("owner/secret"))

    assert error.code == "network.kaggle_token_refused"
    assert f"KAGGLE_API_TOKEN and {home}/.kaggle/credentials.json" in error.message
    assert "https://www.kaggle.com/settings/api" in error.hint


def test_sign_in_is_not_given_up_when_kaggle_has_a_fault(kaggle: Kaggle, fetch: Fetching, home: Path) -> None:
    write(home / ".kaggle" / "credentials.json", signed_in(-1))
    kaggle.errors_once["GenerateAccessToken"] = (503, {}, "")

    assert fetch.dataset("owner/secret")
    assert kaggle.asked[:3] == ["GenerateAccessToken", "GenerateAccessToken", "GetDataset"]


def test_sign_in_is_not_sent_on_to_another_host(kaggle: Kaggle, fetch: Fetching, home: Path) -> None:
    write(home / ".kaggle" / "credentials.json", signed_in(-1))
    elsewhere = f"http://127.0.0.1:{kaggle.port}/api/v1/users.AccountService/GenerateAccessToken"
    kaggle.errors_once["GenerateAccessToken"] = (307, {"Location": elsewhere}, "")

    assert code(fetch.dataset) == "network.http_error"
    assert kaggle.asked == ["GenerateAccessToken"]


# -- What is asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "path"), [(None, "3.zip"), (3, "3.zip"), (1, "1.zip")])
def test_version_pinned_is_the_version_fetched(
    version: int | None, path: str, kaggle: Kaggle, fetch: Fetching, tmp_path: Path
) -> None:
    offer = dataset_offer(version=version)
    kaggle.datasets["owner/cat-images"].versions[4] = tmp_path / "private.zip"  # published in between

    assert offer.version == path[0]
    assert fetch.of(offer) == (tmp_path / path).read_bytes()


def test_version_that_is_not_there(kaggle: Kaggle, fetch: Fetching) -> None:
    error = refusal(lambda: fetch.dataset(version=7))
    assert error.code == "network.kaggle_no_version"
    assert "3" in error.hint
    del kaggle.datasets["owner/cat-images"].versions[2]
    assert code(lambda: fetch.dataset(version=2)) == "network.kaggle_no_version"


@pytest.mark.parametrize("name", ["list.csv", "boxes.json", "about.html"])
def test_single_file(name: str, kaggle: Kaggle, heard: Listening, fetch: Fetching, tmp_path: Path) -> None:
    offer = dataset_offer(files=(f"tables/{name}",))

    assert (offer.version, offer.files[0].name) == ("3", f"tables/{name}")
    assert f"'tables/{name}'" in offer.files[0].source
    assert fetch.of(offer) == (tmp_path / name).read_bytes()


def test_several_files(kaggle: Kaggle) -> None:
    offer = dataset_offer(files=("tables/list.csv", "tables/boxes.json"))

    assert [file.name for file in offer.files] == ["tables/list.csv", "tables/boxes.json"]
    assert len({file.identity for file in offer.files}) == 2


def test_json_file_that_breaks_off_goes_on(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.cut = [3]

    assert fetch.dataset(file="tables/boxes.json") == b"[1, 2]"
    assert kaggle.asked[-1] == "Storage:3"


def test_file_that_does_not_exist(kaggle: Kaggle, fetch: Fetching) -> None:
    error = refusal(lambda: fetch.dataset(file="tables/lists.csv"))
    assert error.code == "network.kaggle_no_file"
    assert "'tables/lists.csv'" in error.message
    assert "https://www.kaggle.com/datasets/owner/cat-images" in error.hint


def test_dataset_without_files(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["DownloadDataset"] = (404, {}, "")

    error = refusal(fetch.dataset)
    assert error.code == "network.kaggle_no_file"
    assert "https://www.kaggle.com/datasets/owner/cat-images" in error.hint


def test_wrong_name(kaggle: Kaggle, fetch: Fetching) -> None:
    error = refusal(lambda: fetch.dataset("owner/cats-images"))
    assert error.code == "network.kaggle_not_found"
    assert "https://www.kaggle.com/datasets/owner/cats-images" in error.hint


def test_wrong_name_where_kaggle_hides_what_exists(
    kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.hidden = True
    codes = {None: "not_public", TOKEN: "access_denied", "KGAT_revoked": "token_refused"}
    for token, expected in codes.items():
        if token:
            monkeypatch.setenv("KAGGLE_API_TOKEN", token)
        assert code(lambda: fetch.dataset("owner/cats-images")) == f"network.kaggle_{expected}"


def test_private_dataset_without_token(kaggle: Kaggle, fetch: Fetching) -> None:
    error = refusal(lambda: fetch.dataset("owner/secret"))

    assert error.code == "network.kaggle_not_public"
    assert "https://www.kaggle.com/settings/api" in error.hint


def test_dataset_whose_page_is_public_and_whose_files_are_not(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["DownloadDataset"] = (403, {}, "")

    assert code(fetch.dataset) == "network.kaggle_token_needed"


def test_dataset_whose_files_are_public_and_whose_page_is_not(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.errors["GetDataset"] = (403, JSON, '{"code": 403, "message": "Permission \'datasets.get\' was denied"}')

    offer = dataset_offer()

    assert (offer.version, offer.licence) == (None, None)
    assert fetch.of(offer) == (tmp_path / "3.zip").read_bytes()
    assert dataset_offer(version=2).version == "2"


def test_competition(kaggle: Kaggle, fetch: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)

    assert fetch.competition() == (tmp_path / "competition.zip").read_bytes()
    assert fetch.competition(file="list.csv") == (tmp_path / "list.csv").read_bytes()
    assert kaggle.authorizations == [
        ("DownloadDataFiles", f"Bearer {TOKEN}"),
        ("Storage", ""),
        ("DownloadDataFile", f"Bearer {TOKEN}"),
        ("Storage", ""),
    ]
    offer = offers.competition_offer("cats-or-dogs", ("list.csv",), POLICY, SILENT)
    assert (offer.version, offer.licence, offer.files[0].name) == (None, None, "list.csv")


def test_competition_without_token(kaggle: Kaggle, fetch: Fetching) -> None:
    error = refusal(fetch.competition)

    assert error.code == "network.kaggle_token_needed"
    assert "https://www.kaggle.com/competitions/cats-or-dogs/rules" in error.hint
    assert kaggle.asked == []


@pytest.mark.parametrize("file", ["", "list.csv"])
def test_competition_whose_rules_are_not_accepted(
    file: str, kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.competitions["cats-or-dogs"].rules_accepted = False

    error = refusal(lambda: fetch.competition(file=file))
    assert error.code == "network.kaggle_rules_not_accepted"
    assert "https://www.kaggle.com/competitions/cats-or-dogs/rules" in error.hint
    assert "You must accept this competition's rules" in error.message  # Kaggle's own words


def test_wrong_name_of_a_competition_or_its_file(
    kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)

    assert code(lambda: fetch.competition("cat-or-dogs")) == "network.kaggle_not_found"
    for name in ("cats-or-dogs", "birds"):
        error = refusal(lambda name=name: fetch.competition(name, "list.txt"))  # type: ignore[misc]
        assert error.code == "network.kaggle_no_file"
        assert f"https://www.kaggle.com/competitions/{name}" in error.hint


# -- What goes wrong ----------------------------------------------------------------------------------------------

LATER = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
CODES = {
    400: "http_error",
    401: "kaggle_token_needed|kaggle_not_public",
    403: "kaggle_token_needed|kaggle_not_public",
    407: "proxy_failed",
    408: "http_error",
    409: "http_error",
    410: "not_found",
    418: "http_error",
    429: "rate_limited",
    451: "http_error",
    500: "server_error",
    501: "server_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
}


@pytest.mark.parametrize("methods", [("GetDataset", "DownloadDataset"), ("DownloadDataset",)], ids=["both", "download"])
@pytest.mark.parametrize("old", [False, True], ids=["status", "status 200"])
@pytest.mark.parametrize("status", CODES)
def test_every_error_status(status: int, old: bool, methods: tuple[str, ...], kaggle: Kaggle, fetch: Fetching) -> None:
    body = json.dumps({"code": status, "message": "Something\nis\x1b[2J wrong"})
    kaggle.errors = dict.fromkeys(methods, (200 if old else status, JSON, body))
    began = monotonic()

    error = refusal(fetch.dataset)

    assert error.code.removeprefix("network.") in CODES[status].split("|")
    assert "\x1b" not in str(error)
    assert monotonic() - began < 5
    assert not (fetch.folder / "download").exists()


def test_explanation_of_kaggle_is_shown_unless_it_holds_the_token(
    kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.errors["GetDataset"] = (409, JSON, json.dumps({"code": 409, "message": " It is\n being \x07moved. "}))
    assert "It is being moved." in refusal(fetch.dataset).message

    kaggle.errors["GetDataset"] = (409, JSON, json.dumps({"code": 409, "message": f"May not: {'.' * 180}{TOKEN}"}))
    assert "May not" not in refusal(fetch.dataset).message


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset"])
@pytest.mark.parametrize("later", ["120", LATER, "soon", "nan"], ids=["seconds", "date", "word", "nan"])
def test_rate_limit_says_when_to_try_again(method: str, later: str, kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors[method] = (429, {"Retry-After": later}, "")

    error = refusal(fetch.dataset)
    assert error.code == "network.rate_limited"
    assert (f"{datetime.now():%Y-}" in error.hint) == (later in ("120", LATER))  # noqa: DTZ005 - the user's clock


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset", "Storage"])
@pytest.mark.parametrize(
    ("status", "headers"),
    [(503, {}), (500, {}), (408, {}), (429, {}), (429, {"Retry-After": "0"}), (503, {"Retry-After": "1"})],
)
def test_fault_that_passes(
    method: str, status: int, headers: dict[str, str], kaggle: Kaggle, fetch: Fetching, tmp_path: Path
) -> None:
    kaggle.errors_once[method] = (status, headers, "")
    began = monotonic()

    assert fetch.dataset() == (tmp_path / "3.zip").read_bytes()

    assert monotonic() - began >= float(headers.get("Retry-After", 0))
    assert len(fetch.heard.notes) == 1
    assert str(status) in fetch.heard.notes[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 410, 416, 418, 429, 451, 500, 502, 503, 504])
def test_every_error_status_of_the_storage(
    status: int, kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.errors["Storage"] = (status, JSON, json.dumps({"message": f"Signature {SIGNATURE} is wrong"}))

    error = refusal(fetch.dataset)

    if status in (408, 500, 502, 503, 504):
        assert error.code == ("network.http_error" if status == 408 else "network.server_error")
    elif status == 429:
        assert error.code == "network.rate_limited"
    else:
        assert error.code == "network.kaggle_storage_refused"
        assert "127.0.0.1" in error.message
    assert str(status) in error.message
    assert not [note for note in fetch.heard.notes if "token" in note]
    assert {given for method, given in kaggle.authorizations if method == "DownloadDataset"} == {f"Bearer {TOKEN}"}


def test_storage_that_says_when(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["Storage"] = (429, {"Retry-After": "3600"}, "")

    error = refusal(fetch.dataset)
    assert error.code == "network.kaggle_storage_refused"
    assert f"{datetime.now():%Y-}" in error.hint  # noqa: DTZ005 - the user's clock


def test_signature_that_has_expired(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.errors_once["Storage"] = (403, {}, "<Error><Code>ExpiredToken</Code></Error>")

    assert fetch.dataset() == (tmp_path / "3.zip").read_bytes()
    assert kaggle.asked == ["GetDataset", "DownloadDataset", "Storage:0", "DownloadDataset", "Storage:0"]
    assert fetch.heard.notes == []


def test_download_that_breaks_off_goes_on_with_a_fresh_address(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.cut = [1000]

    assert fetch.dataset() == (tmp_path / "3.zip").read_bytes()
    assert kaggle.asked == ["GetDataset", "DownloadDataset", "Storage:0", "DownloadDataset", "Storage:1000"]


def test_download_that_breaks_off_is_kept_for_the_next_start(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.cut = [1000, 500]

    assert code(fetch.dataset) == "network.connection_lost"
    assert sorted(path.name for path in fetch.folder.iterdir()) == [".download.part", ".download.part.json"]
    check_holds_no_secret((fetch.folder / ".download.part.json").read_text())

    kaggle.asked.clear()
    assert fetch.dataset() == (tmp_path / "3.zip").read_bytes()
    assert kaggle.asked[-1] == "Storage:1500"
    assert [path.name for path in fetch.folder.iterdir()] == ["download"]


def test_new_version_is_not_added_to_the_part_of_an_old_one(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.cut = [1000, 500]
    refusal(fetch.dataset)
    kaggle.datasets["owner/cat-images"].versions[4] = tmp_path / "2.zip"
    kaggle.asked.clear()

    assert fetch.dataset() == (tmp_path / "2.zip").read_bytes()
    assert kaggle.asked[-1] == "Storage:0"


NO_KAGGLE: dict[str, Answer] = {
    "a page": (200, HTML, PAGE),
    "broken JSON": (200, JSON, '{"currentVersionNumber": '),
    "nothing": (200, JSON, ""),
    "null": (200, JSON, "null"),
    "no UTF-8": (200, JSON, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
}


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset"])
@pytest.mark.parametrize("name", NO_KAGGLE)
def test_what_is_not_kaggle_is_an_error(name: str, method: str, kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors[method] = NO_KAGGLE[name]

    assert code(fetch.dataset) == "network.not_kaggle"
    assert kaggle.asked.count(method) == 1


@pytest.mark.parametrize("body", ["[]", '"x"', "{}", '{"code": "x"}'])
def test_kaggle_that_knows_no_version(body: str, kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.errors["GetDataset"] = (200, JSON, body)

    offer = dataset_offer()

    assert (offer.version, offer.licence) == (None, None)
    assert fetch.of(offer) == (tmp_path / "3.zip").read_bytes()
    kaggle.errors["DownloadDataset"] = kaggle.errors["GetDataset"]
    assert code(fetch.dataset) == "network.not_kaggle"


def test_page_in_place_of_the_storage(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["Storage"] = (200, HTML, PAGE)

    assert code(fetch.dataset) == "network.not_kaggle"
    assert fetch.dataset(file="tables/about.html") == PAGE.encode()  # as far as can be known


def test_errors_that_are_neither(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["GetDataset"] = (404, JSON, "not JSON")
    assert code(fetch.dataset) == "network.kaggle_not_found"
    kaggle.errors["GetDataset"] = (401, JSON, "")
    assert fetch.dataset()
    kaggle.errors["GetDataset"] = (409, JSON, '["x"]')
    assert code(fetch.dataset) == "network.http_error"
    kaggle.errors["GetDataset"] = (409, HTML, PAGE)
    assert code(fetch.dataset) == "network.http_error"


def test_nobody_answers_there(kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert code(lambda: fetch.dataset(policy=HASTY)) == "network.proxy_failed"


def test_certificates_that_are_not_there(kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "nonsense")  # passed over, as the kaggle package does
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    error = refusal(fetch.dataset)
    assert error.code == "network.request_failed"
    assert "/nowhere/ca.pem" in error.message


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset", "Storage"])
def test_server_that_never_answers(method: str, kaggle: Kaggle, fetch: Fetching) -> None:
    if method != "GetDataset":
        offer = dataset_offer(policy=HASTY, progress=fetch.heard)
    kaggle.silent = {method}
    began = monotonic()

    found = code(lambda: fetch.dataset(policy=HASTY) if method == "GetDataset" else fetch.of(offer, HASTY))

    assert found == "network.timeout"
    assert monotonic() - began < 5


# -- How it is done -----------------------------------------------------------------------------------------------


def test_kaggle_itself_is_not_imported_and_nothing_is_left_behind(kaggle: Kaggle, home: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from tlcli.datasets.acquire.downloads.download import download
from tlcli.datasets.acquire.downloads.retries import DEFAULT_POLICY
from tlcli.datasets.acquire.sources.kaggle import offers
from tlcli.errors import NetworkError
from tlcli.progress import SILENT
assert not {{"kagglesdk", "requests"}} & sys.modules.keys()
offer = offers.dataset_offer("owner/cat-images", (), None, DEFAULT_POLICY, SILENT)
download(offer.files[0], Path({str(tmp_path / "out" / "x.zip")!r}))
try:
    offers.competition_offer("cats-or-dogs", (), DEFAULT_POLICY, SILENT)
except NetworkError:
    pass
else:
    raise AssertionError
assert "kagglesdk" in sys.modules
assert "kaggle" not in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "out" / "x.zip").read_bytes() == (tmp_path / "3.zip").read_bytes()
    assert list(home.iterdir()) == []


def test_stand_in_speaks_what_kaggles_own_command_speaks(
    kaggle: Kaggle, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"

    run_kaggle("datasets", "download", SLUG, "-p", str(theirs))
    assert (theirs / "cat-images.zip").read_bytes() == (tmp_path / "3.zip").read_bytes()
    assert kaggle.asked == ["GetDatasetMetadata", "DownloadDataset", "Storage:0"]
    assert {given for _, given in kaggle.authorizations} == {""}

    run_kaggle("datasets", "download", "owner/cat-images/1", "-f", "tables/list.csv", "-p", str(theirs))
    assert (theirs / "list.csv").read_bytes() == (tmp_path / "list.csv").read_bytes()

    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.asked.clear()
    run_kaggle("competitions", "download", "cats-or-dogs", "-p", str(theirs))
    assert (theirs / "cats-or-dogs.zip").read_bytes() == (tmp_path / "competition.zip").read_bytes()
    assert kaggle.asked == ["IntrospectToken", "DownloadDataFiles", "Storage:0"]
