import subprocess
import sys

import aiohttp
import pytest

from object_server import Answer, ObjectServer, cut, slow, status
from tlcli.errors import DataError, NetworkError
from tlcli.system.addresses import shown_address, without_secrets
from tlcli.system.remote import stores
from tlcli.system.remote.reading import TRIES, read_bytes
from tlcli.system.remote.stores import open_store, size_of, version_of

DATA = bytes(range(256)) * 400
S3 = "s3://b/k.jpg"


@pytest.fixture
def addresses(object_server: ObjectServer) -> dict[str, str]:
    object_server.objects["b/k.jpg"] = DATA
    return {"s3": S3, "http": f"{object_server.url}/b/k.jpg?X-Amz-Signature=abcdef"}


@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize(
    "answers",
    [[], [status(503)], [status(429), status(500)], [cut], [status(503)] * (TRIES - 1)],
    ids=["well", "busy", "several", "cut", "often"],
)
def test_what_fails_for_a_moment_is_tried_again(
    kind: str,
    answers: list[Answer],
    addresses: dict[str, str],
    object_server: ObjectServer,
) -> None:
    object_server.answers["b/k.jpg"] = list(answers)
    assert read_bytes(addresses[kind]) == DATA
    assert object_server.requests["GET b/k.jpg"] == len(answers) + 1


@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize(
    ("answer", "code", "requests"),
    [
        (status(403, "AccessDenied"), "network.store_refused", 1),
        (status(401, "InvalidAccessKeyId"), "network.store_refused", 1),
        (status(503), "network.store_unavailable", TRIES),
    ],
    ids=["forbidden", "unknown", "busy"],
)
def test_refusals_and_long_failures_are_errors_without_secrets(
    kind: str,
    answer: Answer,
    code: str,
    requests: int,
    addresses: dict[str, str],
    object_server: ObjectServer,
) -> None:
    object_server.answers["b/k.jpg"] = [answer] * (TRIES + 1)
    with pytest.raises(NetworkError) as raised:
        read_bytes(addresses[kind])
    assert raised.value.code == code
    assert raised.value.exit_code == 4
    assert object_server.requests["GET b/k.jpg"] == requests
    said = f"{raised.value} {raised.value.__cause__}"
    assert raised.value.__suppress_context__
    assert "abcdef" not in said
    assert "testing" not in said
    assert "b/k.jpg" in said


def test_a_store_that_is_slow_is_waited_for_as_long_as_bytes_come(
    addresses: dict[str, str],
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    object_server.answers["b/k.jpg"] = [slow(0.3)]
    assert read_bytes(S3) == DATA
    connection = stores._OPTIONS["s3"]["config_kwargs"]
    assert isinstance(connection, dict)
    monkeypatch.setitem(connection, "read_timeout", 0.1)
    object_server.answers["b/k.jpg"] = [slow(0.5)] * 2
    assert read_bytes(S3) == DATA


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_missing_object_is_not_found(kind: str, addresses: dict[str, str], object_server: ObjectServer) -> None:
    object_server.objects.clear()
    with pytest.raises(FileNotFoundError):
        read_bytes(addresses[kind])
    assert object_server.requests["GET b/k.jpg"] == 1


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, object_server: ObjectServer) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(NetworkError) as raised:
        read_bytes(S3)
    assert raised.value.code == "network.store_unavailable"


def test_an_object_that_changed_since_it_was_listed_is_an_error(
    addresses: dict[str, str],
    object_server: ObjectServer,
) -> None:
    store, path = open_store(S3)
    info = store.info(path)
    version, size = version_of(info), size_of(info)
    assert size == len(DATA)
    assert read_bytes(S3, version, size) == DATA
    for other in (DATA[:-1], DATA[:-1] + b"?"):
        object_server.objects["b/k.jpg"] = other
        with pytest.raises(DataError) as raised:
            read_bytes(S3, version, size)
        assert raised.value.code == "data.file_changed"
    assert read_bytes(S3) == DATA[:-1] + b"?"


def test_an_etag_that_is_no_digest_is_asked_for_again(
    addresses: dict[str, str],
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, _ = open_store(S3)
    of_store = {"ETag": '"multipart-2"', "size": len(DATA)}
    monkeypatch.setattr(store, "info", lambda path: of_store)
    assert read_bytes(S3, "etag multipart-2", len(DATA)) == DATA
    of_store["ETag"] = '"multipart-3"'
    with pytest.raises(DataError):
        read_bytes(S3, "etag multipart-2", len(DATA))


@pytest.mark.parametrize("missing", ["fsspec", "s3fs"])
def test_one_code_says_that_the_extra_is_missing(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from tlcli.errors import UsageError\nfrom tlcli.system.remote.reading import read_bytes\n"
        f"try:\n    read_bytes({S3!r})\nexcept UsageError as error:\n    print(error.code, error.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["usage.extra_missing", "2"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://b/k.jpg", "s3://b/k.jpg"),
        ("https://u:p@h/k.jpg?X-Amz-Signature=s", "https://h/k.jpg"),
        ("failed: https://h/a?sig=1/2, then 'https://h/b?sig=3'", "failed: https://h/a then 'https://h/b"),
        ("failed: https://h/o'1 b.jpg?sig=3 of https://u:p@q@h/c", "failed: https://h/o'1 b.jpg of https://h/c"),
        ("data/a?b.jpg", "data/a?b.jpg"),
    ],
)
def test_addresses_are_shown_without_what_gives_access(given: str, shown: str) -> None:
    assert without_secrets(given) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://b/k.jpg", "s3://b/k.jpg"),
        ("https://u:p@h/k.jpg?X-Amz-Signature=s", "https://h/k.jpg"),
        ('https://h/o\'1 "b".jpg?X-Amz-Signature=s#t', 'https://h/o\'1 "b".jpg'),
        ("https://u:pa@SS@h/k@2.jpg", "https://h/k@2.jpg"),
        ("data/a?b@c.jpg", "data/a?b@c.jpg"),
    ],
)
def test_an_address_is_shown_without_what_gives_access(given: str, shown: str) -> None:
    assert shown_address(given) == shown


def test_a_stalled_store_of_google_ends_in_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda address, **options: (given.update(options), (None, address))[1])
    open_store("gs://bucket/k.jpg")
    timeout = given["requests_timeout"]
    assert isinstance(timeout, aiohttp.ClientTimeout)
    assert timeout.sock_read
    assert timeout.sock_connect


def test_addresses_of_the_web_may_be_encoded_or_not(object_server: ObjectServer) -> None:
    object_server.objects["b/a ü.jpg"] = b"1"
    assert read_bytes(f"{object_server.url}/b/a ü.jpg") == b"1"
    assert read_bytes(f"{object_server.url}/b/a%20%C3%BC.jpg") == b"1"


def test_gone_is_missing(object_server: ObjectServer) -> None:
    object_server.answers["b/gone.jpg"] = [status(410, "Gone")]
    with pytest.raises(FileNotFoundError):
        read_bytes(f"{object_server.url}/b/gone.jpg")
