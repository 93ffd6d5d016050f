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

from tlcli.datasets.acquire.downloads.download import Patience, download
from tlcli.datasets.acquire.sources.kaggle import offers
from tlcli.datasets.acquire.sources.kaggle.account import Account, find_accounts
from tlcli.datasets.acquire.sources.offer import Offer
from tlcli.errors import NetworkError, TlcliError
from tlcli.progress import Progress

SLUG = "owner/cat-images"
BASIC = base64.b64encode(f"someone:{KEY}".encode()).decode()
SECRETS = (TOKEN, KEY, REFRESH, SIGNATURE, BASIC)
PATIENCE = Patience(connect=5, read=5, answer=10, silence=10, tries=2, backoff=0.01)
HASTY = Patience(connect=0.2, read=0.3, answer=0.5, silence=0.5, tries=2, backoff=0.01)
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = "<!DOCTYPE html><title>Welcome to the hotel</title>"
HOW_TO_GET_ONE = "Generate New Token, save it as ~/.kaggle/access_token, run: chmod 600 ~/.kaggle/access_token"


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


@dataclass
class Fetching:
    """Downloads as fetch does."""

    folder: Path
    heard: Listening

    def dataset(
        self, slug: str = SLUG, version: int | None = None, file: str = "", patience: Patience = PATIENCE
    ) -> bytes:  # fmt: skip
        files = (file,) if file else ()
        return self.of(offers.dataset(slug, version, files, patience=patience, progress=self.heard), patience)

    def competition(self, name: str = "cats-or-dogs", file: str = "", patience: Patience = PATIENCE) -> bytes:
        files = (file,) if file else ()
        return self.of(offers.competition(name, files, patience=patience, progress=self.heard), patience)

    def of(self, offer: Offer, patience: Patience = PATIENCE) -> bytes:
        (wanted,) = offer.wanted
        target = self.folder / "download"
        target.unlink(missing_ok=True)
        download(wanted, target, patience, self.heard)
        return target.read_bytes()


@pytest.fixture
def fetch(tmp_path: Path, heard: Listening) -> Fetching:
    return Fetching(tmp_path / "out", heard)


def refusal(call: Callable[[], object]) -> str:
    """What a refusal says; no secret is in it, nor in what is printed of it with all its causes."""
    with pytest.raises(TlcliError) as raised:
        call()
    check_holds_no_secret("".join(traceback.format_exception(raised.value)))
    assert isinstance(raised.value, NetworkError)
    return str(raised.value)


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
    offer = offers.dataset(SLUG, patience=PATIENCE, progress=heard)

    assert (offer.version, offer.licence) == ("3", "CC-BY-SA-4.0")
    assert (offer.wanted[0].name, offer.wanted[0].shown) == ("cat-images.zip", "Kaggle's 'owner/cat-images'")
    assert fetch.of(offer) == (tmp_path / "3.zip").read_bytes()
    assert kaggle.authorizations == [("GetDataset", ""), ("DownloadDataset", ""), ("Storage", "")]
    assert heard.notes == []


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
    ("name", "value", "words"),
    [
        ("KAGGLE_API_TOKEN", f"{TOKEN}\n{TOKEN}", "What KAGGLE_API_TOKEN holds is no Kaggle token: it has spaces"),
        ("KAGGLE_API_TOKEN", f"token {TOKEN}", "Copy it again, with nothing around it"),
        ("KAGGLE_API_TOKEN", f"\u201c{TOKEN}\u201d", "or other characters that none has"),
        ("KAGGLE_API_TOKEN", f"/nowhere/{TOKEN}", "looks like the path of a file, and there is no such file"),
        ("KAGGLE_API_TOKEN", f"~/{TOKEN}", "without ~"),
        ("KAGGLE_KEY", f"{KEY}\r\nX-Header: {KEY}", "What KAGGLE_KEY holds is no Kaggle token"),
        ("KAGGLE_USERNAME", "\u0416", "kaggle.json holds is no Kaggle token"),
    ],
)
def test_what_can_be_no_token_is_told_and_not_shown(
    name: str, value: str, words: str, kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".kaggle" / "kaggle.json", PAIR)
    monkeypatch.setenv(name, value)

    assert words in refusal(fetch.dataset)
    assert kaggle.asked == []


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("kaggle.json", b'{"username": "someone", "key": ', "is not the JSON that Kaggle wrote; going on without it"),
        ("kaggle.json", b'["someone"]', "is not the JSON that Kaggle wrote"),
        ("kaggle.json", PAIR.encode("utf-16"), "cannot be read (it is no UTF-8 text); going on without it"),
        ("kaggle.json", json.dumps({"key": KEY}).encode(), "holds a key for Kaggle, and no user name goes with it"),
        ("access_token", TOKEN.encode("utf-16"), "cannot be read (it is no UTF-8 text); going on without it"),
        ("credentials.json", b"null", "is not the JSON that Kaggle wrote"),
        ("kaggle.json", b"", None),
        ("credentials.json", b'{"refresh_token": ""}', None),
    ],
)
def test_files_that_cannot_be_read_are_told_and_passed_over(
    file: str, content: bytes, words: str | None, kaggle: Kaggle, fetch: Fetching, home: Path
) -> None:
    write(home / ".kaggle" / file, "")
    (home / ".kaggle" / file).write_bytes(content)

    assert fetch.dataset()

    assert [note.replace(str(home), "") for note in fetch.heard.notes if words is None or words not in note] == []
    assert len(fetch.heard.notes) == (words is not None)
    assert {given for _, given in kaggle.authorizations} == {""}


def test_folder_in_place_of_a_file_is_passed_over(
    kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".kaggle" / "kaggle.json").mkdir(parents=True)
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(home))

    assert fetch.dataset()
    assert fetch.heard.notes == [
        f"{home} cannot be read (Is a directory); going on without it.",
        f"{home}/.kaggle/kaggle.json cannot be read (Is a directory); going on without it.",
    ]


@pytest.mark.parametrize("name", ["access_token", "access_token.txt", "kaggle.json", "credentials.json", "my token"])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644])
def test_files_that_others_can_read_are_told(name: str, mode: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".kaggle" / name
    write(path, {"kaggle.json": PAIR, "credentials.json": signed_in(1)}.get(name, TOKEN), mode)
    if name == "my token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(path))
    heard = Listening()

    assert next(find_accounts(heard)).origin in (str(path), "KAGGLE_API_TOKEN")

    shown = f"'{path}'" if " " in name else str(path)
    warning = f"Other users of this machine can read your Kaggle token; run: chmod 600 {shown}"
    assert heard.notes == ([] if mode == 0o600 else [warning])


def test_repr_of_an_account_shows_no_secret() -> None:
    assert repr(Account("here", TOKEN, "someone", KEY, REFRESH)) == "Account(origin='here', username='someone')"


def test_refused_token_is_told_and_public_data_comes_without(
    kaggle: Kaggle, fetch: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_revoked")

    assert fetch.dataset() == (tmp_path / "3.zip").read_bytes()
    assert fetch.heard.notes == ["Kaggle refuses the token from KAGGLE_API_TOKEN; trying without one."]
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
    assert fetch.heard.notes == [
        f"Kaggle refuses the token from KAGGLE_API_TOKEN; trying that from {pair}.",
        f"Kaggle refuses the token from {pair}; trying that from {sign_in}.",
    ]


@pytest.mark.parametrize("asks_for", ["dataset", "competition"])
def test_refused_token_where_one_is_needed(
    asks_for: str, kaggle: Kaggle, fetch: Fetching, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".kaggle" / "credentials.json", signed_in(-1, refresh_token="over"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_revoked")

    told = refusal(fetch.competition if asks_for == "competition" else lambda: fetch.dataset("owner/secret"))

    what = "the data of the competition 'cats-or-dogs'" if asks_for == "competition" else "'owner/secret'"
    assert told.startswith(
        f"Kaggle refuses the token from KAGGLE_API_TOKEN and {home}/.kaggle/credentials.json (it has expired, or was "
        f"revoked), and gives {what} to nobody without one. Make one: "
    )
    assert HOW_TO_GET_ONE in told


def test_sign_in_is_not_given_up_when_kaggle_has_a_fault(kaggle: Kaggle, fetch: Fetching, home: Path) -> None:
    write(home / ".kaggle" / "credentials.json", signed_in(-1))
    kaggle.errors_once["GenerateAccessToken"] = (503, {}, "")

    assert fetch.dataset("owner/secret")
    assert kaggle.asked[:3] == ["GenerateAccessToken", "GenerateAccessToken", "GetDataset"]


def test_sign_in_is_not_sent_on_to_another_host(kaggle: Kaggle, fetch: Fetching, home: Path) -> None:
    write(home / ".kaggle" / "credentials.json", signed_in(-1))
    elsewhere = f"http://127.0.0.1:{kaggle.port}/api/v1/users.AccountService/GenerateAccessToken"
    kaggle.errors_once["GenerateAccessToken"] = (307, {"Location": elsewhere}, "")

    assert refusal(fetch.dataset) == "Kaggle sends from one address to the next without end (tried once)."
    assert kaggle.asked == ["GenerateAccessToken"]


# -- What is asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "path"), [(None, "3.zip"), (3, "3.zip"), (1, "1.zip")])
def test_version_pinned_is_the_version_fetched(
    version: int | None, path: str, kaggle: Kaggle, fetch: Fetching, tmp_path: Path
) -> None:
    offer = offers.dataset(SLUG, version, patience=PATIENCE)
    kaggle.datasets["owner/cat-images"].versions[4] = tmp_path / "private.zip"  # published in between

    assert offer.version == path[0]
    assert fetch.of(offer) == (tmp_path / path).read_bytes()


def test_version_that_is_not_there(kaggle: Kaggle, fetch: Fetching) -> None:
    assert refusal(lambda: fetch.dataset(version=7)) == (
        "Kaggle's 'owner/cat-images' has no version 7; the newest is 3."
    )
    del kaggle.datasets["owner/cat-images"].versions[2]
    assert refusal(lambda: fetch.dataset(version=2)) == (
        "Kaggle's 'owner/cat-images' has no version 2 (any more); the newest is 3."
    )


@pytest.mark.parametrize("name", ["list.csv", "boxes.json", "about.html"])
def test_single_file(name: str, kaggle: Kaggle, heard: Listening, fetch: Fetching, tmp_path: Path) -> None:
    offer = offers.dataset(SLUG, files=(f"tables/{name}",), patience=PATIENCE)

    assert (offer.version, offer.wanted[0].name) == ("3", f"tables/{name}")
    assert offer.wanted[0].shown == f"Kaggle's 'owner/cat-images', file 'tables/{name}'"
    assert fetch.of(offer) == (tmp_path / name).read_bytes()


def test_several_files(kaggle: Kaggle) -> None:
    offer = offers.dataset(SLUG, files=("tables/list.csv", "tables/boxes.json"), patience=PATIENCE)

    assert [wanted.name for wanted in offer.wanted] == ["tables/list.csv", "tables/boxes.json"]
    assert len({wanted.identity for wanted in offer.wanted}) == 2


def test_json_file_that_breaks_off_goes_on(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.cut = [3]

    assert fetch.dataset(file="tables/boxes.json") == b"[1, 2]"
    assert kaggle.asked[-1] == "Storage:3"


def test_file_that_is_not_there(kaggle: Kaggle, fetch: Fetching) -> None:
    assert refusal(lambda: fetch.dataset(file="tables/lists.csv")) == (
        "Kaggle's 'owner/cat-images' has no file 'tables/lists.csv'. Did you mean 'tables/list.csv'? "
        "Files there: tables/list.csv, tables/boxes.json, tables/about.html."
    )
    kaggle.errors["ListDatasetFiles"] = (500, {}, "")
    assert refusal(lambda: fetch.dataset(file="x.csv")) == "Kaggle's 'owner/cat-images' has no file 'x.csv'."


def test_dataset_without_files(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["DownloadDataset"] = (404, {}, "")

    assert refusal(fetch.dataset) == (
        "Kaggle knows 'owner/cat-images', and has no files of it (any more). "
        "Look at https://www.kaggle.com/datasets/owner/cat-images."
    )


def test_wrong_name(kaggle: Kaggle, fetch: Fetching) -> None:
    assert refusal(lambda: fetch.dataset("owner/cats-images")) == (
        "Kaggle has no data set 'owner/cats-images' (any more). Did you mean 'owner/cat-images'?"
    )
    assert refusal(lambda: fetch.dataset("nobody/things")) == (
        "Kaggle has no data set 'nobody/things' (any more). Look for it at "
        "https://www.kaggle.com/datasets?search=things"
    )


def test_wrong_name_where_kaggle_does_not_tell(
    kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.hidden = True
    told = refusal(lambda: fetch.dataset("owner/cats-images"))
    assert told.startswith(
        "Kaggle has no public data set 'owner/cats-images'. Did you mean 'owner/cat-images'? Look at "
        "https://www.kaggle.com/datasets/owner/cats-images - if it is there, it is private or wants your consent, "
    )
    assert HOW_TO_GET_ONE in told

    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert refusal(lambda: fetch.dataset("owner/cats-images")).startswith(
        "Kaggle does not give 'owner/cats-images' to the owner of the token from KAGGLE_API_TOKEN. Did you mean "
        "'owner/cat-images'? Look at https://www.kaggle.com/datasets/owner/cats-images, signed in as that user"
    )

    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_revoked")
    assert refusal(lambda: fetch.dataset("owner/cats-images")).endswith(" Did you mean 'owner/cat-images'?")


def test_private_dataset_without_token(kaggle: Kaggle, fetch: Fetching) -> None:
    told = refusal(lambda: fetch.dataset("owner/secret"))

    assert told.startswith("Kaggle has no public data set 'owner/secret'. Look at")
    assert HOW_TO_GET_ONE in told


def test_dataset_that_everybody_sees_and_not_everybody_gets(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["DownloadDataset"] = (403, {}, "")

    told = refusal(fetch.dataset)

    assert told.startswith("Kaggle gives the files of 'owner/cat-images' only with a token. Make one")


def test_dataset_that_may_be_downloaded_and_not_looked_at(kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.errors["GetDataset"] = (403, JSON, '{"code": 403, "message": "Permission \'datasets.get\' was denied"}')

    offer = offers.dataset(SLUG, patience=PATIENCE)

    assert (offer.version, offer.licence) == (None, None)
    assert fetch.of(offer) == (tmp_path / "3.zip").read_bytes()
    assert offers.dataset(SLUG, 2, patience=PATIENCE).version == "2"


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
    offer = offers.competition("cats-or-dogs", files=("list.csv",))
    assert (offer.version, offer.licence, offer.wanted[0].name) == (None, None, "list.csv")


def test_competition_without_token(kaggle: Kaggle, fetch: Fetching) -> None:
    told = refusal(fetch.competition)

    assert told.startswith("Kaggle gives the data of competitions, as 'cats-or-dogs', only with a token. Make one: ")
    assert HOW_TO_GET_ONE in told
    assert told.endswith("The rules must be accepted once, too: https://www.kaggle.com/competitions/cats-or-dogs/rules")
    assert kaggle.asked == []


@pytest.mark.parametrize("file", ["", "list.csv"])
def test_competition_whose_rules_are_not_accepted(
    file: str, kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.competitions["cats-or-dogs"].rules_accepted = False

    assert refusal(lambda: fetch.competition(file=file)) == (
        "Kaggle gives the data of the competition 'cats-or-dogs' to those who have accepted its rules: open "
        "https://www.kaggle.com/competitions/cats-or-dogs/rules signed in as the token's owner, accept them (Kaggle "
        "may want the account's phone number verified), and run the same command again. (It says: You must accept this "
        "competition's rules before you'll be able to download files.)"
    )


def test_wrong_name_of_a_competition_or_its_file(
    kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)

    assert refusal(lambda: fetch.competition("cat-or-dogs")) == (
        "Kaggle has no competition 'cat-or-dogs' (any more). Did you mean 'cats-or-dogs'?"
    )
    assert refusal(lambda: fetch.competition("birds", "list.csv")) == (
        "Kaggle has no competition 'birds' (any more). Its name is the last part of its page's address."
    )
    assert refusal(lambda: fetch.competition(file="list.txt")) == (
        "Kaggle's competition 'cats-or-dogs' has no file 'list.txt'. Did you mean 'list.csv'? Files there: list.csv."
    )


# -- What goes wrong ----------------------------------------------------------------------------------------------

LATER = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
TOLD = {
    400: "Kaggle does not understand the request for 'owner/cat-images'; is that its name at https://",
    401: HOW_TO_GET_ONE,
    403: HOW_TO_GET_ONE,
    407: "the proxy wants a user and password",
    408: "answered 408 Request Timeout",
    409: "Asked for 'owner/cat-images', Kaggle answered 409 Conflict. (It says: Something is[2J wrong) Look at https",
    410: "Kaggle's 'owner/cat-images' was removed for good; it must come from elsewhere.",
    418: "answered 418 I'm a Teapot",
    429: "too ",  # many requests; often
    451: "451 Unavailable For Legal Reasons: it may not be given out, for legal reasons",
    500: "answered 500 Internal Server Error: its server has a fault of its own",
    501: "Kaggle answered 501 Not Implemented. (It says: Something is[2J wrong) Try again later.",
    502: "answered 502 Bad Gateway",
    503: "answered 503 Service Unavailable",
    504: "answered 504 Gateway Timeout",
}


@pytest.mark.parametrize("methods", [("GetDataset", "DownloadDataset"), ("DownloadDataset",)], ids=["both", "download"])
@pytest.mark.parametrize("old", [False, True], ids=["status", "status 200"])
@pytest.mark.parametrize("status", TOLD)
def test_every_error_status(status: int, old: bool, methods: tuple[str, ...], kaggle: Kaggle, fetch: Fetching) -> None:
    body = json.dumps({"code": status, "message": "Something\nis\x1b[2J wrong"})
    kaggle.errors = dict.fromkeys(methods, (200 if old else status, JSON, body))
    began = monotonic()

    told = refusal(fetch.dataset)

    assert TOLD[status] in told
    assert "owner/cat-images" in told or "too many requests from here" in told
    assert "\x1b" not in told
    assert "?." not in told
    assert monotonic() - began < 5
    assert not (fetch.folder / "download").exists()


def test_words_of_kaggle_are_told_unless_they_hold_the_token(
    kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.errors["GetDataset"] = (409, JSON, json.dumps({"code": 409, "message": " It is\n being \x07moved. "}))
    assert "(It says: It is being moved.)" in refusal(fetch.dataset)

    kaggle.errors["GetDataset"] = (409, JSON, json.dumps({"code": 409, "message": f"May not: {'.' * 180}{TOKEN}"}))
    assert "May not" not in refusal(fetch.dataset)


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset"])
@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Retry-After": "120"}, "too many requests from here; try again in 2 minutes, at "),
        ({"Retry-After": LATER}, "too many requests from here; try again in 3 hours, at "),
        ({"Retry-After": "soon"}, "too "),
        ({"Retry-After": "nan"}, "too "),
    ],
)
def test_rate_limit_says_when_to_try_again(
    method: str, headers: dict[str, str], words: str, kaggle: Kaggle, fetch: Fetching
) -> None:
    kaggle.errors[method] = (429, headers, "")

    assert words in refusal(fetch.dataset)


def test_rate_limit_of_unknown_length(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["GetDataset"] = (429, {}, "")

    assert refusal(fetch.dataset) == "Kaggle has had too many requests from here; try again in some minutes."
    assert kaggle.asked == ["GetDataset", "GetDataset"]


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
    (note,) = fetch.heard.notes
    assert f"answered {status} " in note
    assert "trying again in " in note


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 410, 416, 418, 429, 451, 500, 502, 503, 504])
def test_every_error_status_of_the_storage(
    status: int, kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.errors["Storage"] = (status, JSON, json.dumps({"message": f"Signature {SIGNATURE} is wrong"}))

    told = refusal(fetch.dataset)

    if status in (408, 500, 502, 503, 504):
        assert told.startswith(f"Kaggle's 'owner/cat-images' answered {status} ")
        assert told.endswith(" (tried 2 times).")
    else:
        assert told.startswith(
            f"Kaggle gives 'owner/cat-images', and sends on to its storage, where 127.0.0.1 answered {status} "
        )
        assert told.endswith("Perhaps a firewall or a proxy keeps it from you; else try again later.")
    assert not [note for note in fetch.heard.notes if "token" in note]
    assert {given for method, given in kaggle.authorizations if method == "DownloadDataset"} == {f"Bearer {TOKEN}"}


def test_storage_that_says_when(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["Storage"] = (429, {"Retry-After": "3600"}, "")

    assert "127.0.0.1 answered 429 Too Many Requests" in (told := refusal(fetch.dataset))
    assert "try again in 1 hour, at" in told


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

    assert "the 1.5 KB that arrived are kept, and the same command goes on there" in refusal(fetch.dataset)
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
    "a code that is none": (200, JSON, '{"code": "x"}'),
    "no UTF-8": (200, JSON, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
}


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset"])
@pytest.mark.parametrize("name", NO_KAGGLE)
def test_what_is_not_kaggle_is_told(name: str, method: str, kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors[method] = NO_KAGGLE[name]

    assert refusal(fetch.dataset).startswith(
        "What answers in place of Kaggle is not Kaggle: it sends a page. Perhaps this network wants you to sign in"
    )
    assert kaggle.asked.count(method) == 1


@pytest.mark.parametrize(
    "body", ["[]", '"x"', "{}", '{"currentVersionNumber": "three", "licenseName": 3}', '{"currentVersionNumber": -1}']
)
def test_kaggle_that_knows_no_version(body: str, kaggle: Kaggle, fetch: Fetching, tmp_path: Path) -> None:
    kaggle.errors["GetDataset"] = (200, JSON, body)

    offer = offers.dataset(SLUG, patience=PATIENCE)

    assert (offer.version, offer.licence) == (None, None)
    assert fetch.of(offer) == (tmp_path / "3.zip").read_bytes()
    kaggle.errors["DownloadDataset"] = kaggle.errors["GetDataset"]
    assert "is not Kaggle" in refusal(fetch.dataset)


def test_page_in_place_of_the_storage(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["Storage"] = (200, HTML, PAGE)

    assert "is not Kaggle: it sends a page" in refusal(fetch.dataset)
    assert fetch.dataset(file="tables/about.html") == PAGE.encode()  # as far as can be known


def test_errors_that_are_neither(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.errors["GetDataset"] = (404, JSON, "not JSON")
    assert "no data set 'owner/cat-images'" in refusal(fetch.dataset)
    kaggle.errors["GetDataset"] = (401, JSON, "")
    assert fetch.dataset()
    kaggle.errors["GetDataset"] = (409, JSON, '["x"]')
    assert "Kaggle answered 409 Conflict." in refusal(fetch.dataset)
    kaggle.errors["GetDataset"] = (409, HTML, PAGE)
    assert "Kaggle answered 409 Conflict." in refusal(fetch.dataset)


def test_nobody_answers_there(kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    told = refusal(lambda: fetch.dataset(patience=HASTY))

    assert told.startswith("Kaggle cannot be reached: ")
    assert told.endswith(" (tried 2 times).")


def test_certificates_that_are_not_there(kaggle: Kaggle, fetch: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "nonsense")  # passed over, as the kaggle package does
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    assert "/nowhere/ca.pem (tried once)" in refusal(fetch.dataset)


@pytest.mark.parametrize("method", ["GetDataset", "DownloadDataset", "Storage"])
def test_server_that_never_answers(method: str, kaggle: Kaggle, fetch: Fetching) -> None:
    if method != "GetDataset":
        offer = offers.dataset(SLUG, patience=HASTY, progress=fetch.heard)
    kaggle.silent = {method}
    began = monotonic()

    told = refusal(lambda: fetch.dataset(patience=HASTY) if method == "GetDataset" else fetch.of(offer, HASTY))

    assert told.startswith("Kaggle")
    assert "went silent" in told or "did not answer in time" in told
    assert monotonic() - began < 5


def test_search_that_never_answers_does_not_hold_up_the_refusal(kaggle: Kaggle, fetch: Fetching) -> None:
    kaggle.silent = {"ListDatasets"}
    began = monotonic()

    assert "no data set 'owner/cats-images'" in refusal(lambda: fetch.dataset("owner/cats-images", patience=HASTY))
    assert monotonic() - began < 5


# -- How it is done -----------------------------------------------------------------------------------------------


def test_kaggle_itself_is_not_imported_and_nothing_is_left_behind(kaggle: Kaggle, home: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from tlcli.datasets.acquire.downloads.download import download
from tlcli.datasets.acquire.sources.kaggle import offers
from tlcli.errors import NetworkError
assert not {{"kagglesdk", "requests"}} & sys.modules.keys()
offer = offers.dataset("owner/cat-images")
download(offer.wanted[0], Path({str(tmp_path / "out" / "x.zip")!r}))
try:
    offers.competition("cats-or-dogs")
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
