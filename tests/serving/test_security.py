"""Nobody gets in who should not: Host, Origin, token, paths; and what slow, many or malformed clients can do."""

import http.client
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from tests.serving.conftest import Server, serving, wait_until

from tlcli.errors import UsageError
from tlcli.serving.limits import RefusalError
from tlcli.serving.security import Guard, can_be_read_by_others, is_loopback, read_token

TOKEN = "correct-horse-battery-staple"


def refused(guard: Guard, method: str = "POST", path: str = "/predict", **headers: str) -> str | None:
    """The code, or None where it is let in."""
    given = {name.replace("_", "-"): [value] for name, value in headers.items()}
    try:
        guard.check(method, path, given)
    except RefusalError as error:
        return error.code
    return None


LOCAL = Guard("127.0.0.1", None)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "[::1]", "127.0.0.1"]
)  # fmt: skip
def test_this_machines_names_are_allowed(host: str) -> None:
    assert refused(LOCAL, host=host) is None


HOSTS = [
    "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost", "",
    " ", "127.0.0.2", "192.168.1.7:8000", "0.0.0.0", "[::]", "[::1", "::1", "127.0.0.1:", "127.0.0.1:x",
    "127.0.0.1:1:2",     "127.0.0.1:999999", "localhost:80@evil.example", "evil.example#localhost", "localhost/",
    "localhost.", "2130706433",
    "0x7f.1", "127.1", "localhost\t", "127.0.0.1 ", "[127.0.0.1]x", "x[::1]", "[fe80::1%25eth0]", "l\u043ecalhost",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_other_names_are_not(host: str) -> None:
    expected = {"127.0.0.1:", "127.0.0.1 "} if host.startswith("127.0.0.1") else set()
    found = refused(LOCAL, host=host)
    assert found == "serve.host_not_allowed" or (host in expected and found is None)


def test_a_name_that_is_allowed_or_of_a_network() -> None:
    assert refused(Guard("127.0.0.1", None, ["models.example"]), host="Models.example:80") is None
    network = Guard("0.0.0.0", TOKEN)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert refused(network, host="192.168.1.7:8000", **bearer) is None
    assert refused(network, host=socket.gethostname(), **bearer) is None
    assert refused(network, host="evil.example", **bearer) == "serve.host_not_allowed"


def test_a_host_is_named_once() -> None:
    for given in ({}, {"host": ["localhost", "localhost"]}):
        with pytest.raises(RefusalError) as raised:
            LOCAL.check("GET", "/", given)
        assert raised.value.code == "serve.host_missing"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "", "http://localhost:3000", "https://localhost:8000.evil.example", "file://",
        "http://localhost", "http://127.0.0.1:8000", "chrome-extension://x", "localhost:8000",
    ],
)  # fmt: skip
def test_pages_of_other_origins_cannot_post(origin: str) -> None:
    assert refused(LOCAL, host="localhost:8000", origin=origin) == "serve.origin_not_allowed"


def test_the_servers_own_page_can_post() -> None:
    assert refused(LOCAL, host="localhost:8000", origin="http://localhost:8000", sec_fetch_site="same-origin") is None
    assert refused(LOCAL, host="models.example", origin="https://models.example") == "serve.host_not_allowed"
    for site in ("cross-site", "same-site"):
        assert refused(LOCAL, host="localhost:8000", sec_fetch_site=site) == "serve.origin_not_allowed"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"Bearer {TOKEN}", None), (f"bearer {TOKEN}", None), (f"Bearer  {TOKEN} ", None), ("", "serve.token_wrong"),
        ("Bearer", "serve.token_wrong"), ("Bearer ", "serve.token_wrong"), (TOKEN, "serve.token_wrong"),
        (f"Basic {TOKEN}", "serve.token_wrong"), (f"Bearer {TOKEN}x", "serve.token_wrong"),
        (f"Bearer {TOKEN[:-1]}", "serve.token_wrong"), (f"Bearer {TOKEN.upper()}", "serve.token_wrong"),
        ("Bearer \udcff", "serve.token_wrong"),
    ],
)  # fmt: skip
def test_tokens(given: str, expected: str | None) -> None:
    assert refused(Guard("127.0.0.1", TOKEN), host="localhost", authorization=given) == expected


@pytest.mark.parametrize(
    ("host", "has_token", "starts"),
    [
        ("127.0.0.1", False, True), ("localhost", False, True), ("::1", False, True), ("127.9.9.9", False, True),
        ("0.0.0.0", False, False), ("::", False, False), ("192.168.1.7", False, False), ("", False, False),
        ("models.example", False, False), ("localhost.evil.example", False, False), ("0", False, False),
        ("2130706433", False, False), ("::ffff:0.0.0.0", False, False), ("10.0.0.1", False, False),
        ("0.0.0.0", True, True), ("::", True, True), ("127.0.0.1", True, True), ("192.168.1.7", True, True),
        ("models.example", True, True), ("", True, True),
    ],
)  # fmt: skip
def test_only_this_machine_is_served_without_a_token(tmp_path: Path, host: str, has_token: bool, starts: bool) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    path = tmp_path / "token" if has_token else None
    if starts:
        assert read_token(path, host) == (TOKEN if has_token else None)
        return
    with pytest.raises(UsageError) as raised:
        read_token(path, host)
    assert raised.value.code == "usage.token_required"


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 15, "x" * 5000, "two words are not one token", "ünïcode-token-is-none"]
)
def test_weak_tokens_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(UsageError) as raised:
        read_token(tmp_path / "token", "127.0.0.1")
    assert raised.value.code == "usage.token_invalid"


def test_a_token_that_others_can_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    assert can_be_read_by_others(path)
    path.chmod(0o600)
    assert not can_be_read_by_others(path)
    assert not is_loopback("example")


# Of a running server


@pytest.fixture(scope="module")
def guarded(trained: Path) -> Iterator[Server]:
    """With a token."""
    path = trained / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    with serving(trained, "--token-file", path) as started:
        yield started


def test_a_server_with_a_token_shows_nothing_without_it(guarded: Server, image: bytes) -> None:
    for path in ("/about", "/metrics", "/v2", "/v2/models/own", "/none", "/v1/models/own"):
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert guarded.post("/predict", image).status_code == 401
    assert guarded.post("/predict", image, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    for path in ("/", "/page.js", "/page.css", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"):
        assert guarded.get(path).status_code == 200


def traversals() -> list[str]:
    """300 addresses of other files."""
    ups = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "....//", "%252e%252e%252f", "..%c0%af", "/"]
    targets = ["etc/passwd", "own.yaml", "runs/latest/run.json", "serve.log", "token", "proc/self/environ"]
    bases = ["/", "/page.css/", "/v2/models/", "/v1/models/own/", "/predict/"]
    return [f"{base}{up * 3}{target}" for base in bases for up in ups for target in targets]


def test_no_address_leads_to_a_file(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    assert len(traversals()) == 300
    for path in traversals():
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (400, 404, 405), path
        assert b"root:" not in body
        assert b"path:" not in body
        assert len(body) < 200
    for name in ("%2e%2e", "..%2f..%2ftoken", "own%00", "http:%2f%2f127.0.0.1%2f", "own/versions/..%2f.."):
        connection.request("GET", f"/v2/models/{name}")
        answer = connection.getresponse()
        assert answer.status == 404
        answer.read()
    connection.close()


def test_a_page_of_another_site_gets_nothing(server: Server, image: bytes) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = requests.post(f"{server.url}/predict", data=image, headers=headers, timeout=5)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    preflight = requests.options(f"{server.url}/predict", headers={"Origin": "http://evil.example"}, timeout=5)
    assert preflight.status_code == 403


def sent(port: int, data: bytes, seconds: float = 5) -> bytes:
    """What the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as opened:
        with suppress(OSError):  # it has refused and closed already
            opened.sendall(data)
            opened.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := opened.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\n\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused(server: Server, data: bytes) -> None:
    answer = sent(server.port, data)
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert server.get("/v2/health/live").status_code == 200


def test_random_requests_do_no_harm(server: Server, image: bytes) -> None:
    assert attack(server.port, image, 300) == 0
    assert server.get("/v2/health/live").status_code == 200


@pytest.mark.slow
def test_5000_random_requests_leave_the_server_as_it_was(trained: Path, image: bytes) -> None:
    with serving(trained) as one:
        attack(one.port, image, 300, seed=1)
        before = one.metric("process_resident_memory_bytes")
        assert attack(one.port, image, 5000, seed=2) == 0
        assert one.metric("process_resident_memory_bytes") - before < 50e6
        assert one.process.poll() is None
        assert one.post("/predict", image).status_code == 200


def attack(port: int, image: bytes, count: int, seed: int = 0) -> int:
    """Sends malformed requests; how many of the answers have status 500 and more, but 503."""
    choose = random.Random(seed)
    heads = ["/predict", "/v2/models/own/infer", "/v1/models/own:predict", "/corrections?label=left", "/", "/about"]
    bodies = [
        image, b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["/9j/"]}]}',
        b'{"instances":[{"b64":"iVBORw0KGgo="}]}',
        b'--a\r\nContent-Disposition: form-data; name="x"; filename="y"\r\n\r\nz\r\n--a--',
    ]  # fmt: skip
    failed = 0
    for _ in range(count):
        body = bytearray(choose.choice(bodies))
        for _ in range(choose.randrange(4)):
            at = choose.randrange(len(body))
            body[at : at + choose.randrange(3)] = choose.randbytes(choose.randrange(6))
        length = choose.choice([len(body), len(body), len(body), 0, len(body) + 5, 10**9])
        kinds = [
            "A: b", "Content-Type: multipart/form-data; boundary=a",
            f"Inference-Header-Content-Length: {choose.randrange(99)}",
        ]  # fmt: skip
        others = ["X: y", "Expect: 100-continue", "Cookie: a"]
        headers = ["Host: localhost", f"Content-Length: {length}", choose.choice(others), choose.choice(kinds)]
        choose.shuffle(headers)
        method = choose.choice(["POST", "POST", "POST", "PUT", "GET", "HEAD", "DELETE", "PATCH", "TRACE"])
        query = choose.choice(["", "?top=3", "?explain=true", "?model=own", "?top=%ff", "?a=b"])
        head = "\r\n".join([f"{method} {choose.choice(heads)}{query} HTTP/1.1", *headers, "Connection: close", "", ""])
        raw = bytearray(head.encode() + body)
        if choose.random() < 0.3:
            at = choose.randrange(len(head))
            raw[at : at + choose.randrange(3)] = choose.randbytes(choose.randrange(4))
        answer = sent(port, bytes(raw))
        status = answer.partition(b"\r\n")[0].split(b" ")[1:2]
        failed += bool(status) and status[0] >= b"500" and status[0] not in (b"503", b"505", b"507")
    return failed


def test_slow_heads_and_bodies_are_given_up(trained: Path, image: bytes) -> None:
    with serving(trained, limits={"header": 0.4, "body": 0.6, "connections": 12}) as one:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(image)}\r\n\r\n".encode()
        for data, code in (
            (b"", b"serve.head_too_slow"),
            (head[:20], b"serve.head_too_slow"),
            (head + image[:9], b"serve.body_too_slow"),
        ):
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", one.port), timeout=5) as opened:
                opened.sendall(data)
                answer = b""
                while part := opened.recv(4096):
                    answer += part
            assert answer.startswith(b"HTTP/1.1 408")
            assert code in answer
            assert time.monotonic() - began < 3
        idle = [socket.create_connection(("127.0.0.1", one.port), timeout=5) for _ in range(12)]
        with socket.create_connection(("127.0.0.1", one.port), timeout=5) as more:
            assert more.recv(4096).startswith(b"HTTP/1.1 503")
        time.sleep(0.8)  # they are given up, too
        assert requests.post(f"{one.url}/predict", data=image, timeout=5).status_code == 200
        for each in idle:
            each.close()


def test_clients_that_do_not_read_their_answers_are_cut_off(trained: Path) -> None:
    with serving(trained, limits={"header": 1, "body": 1, "connections": 4}) as one:
        page = b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deaf = []
        for _ in range(4):
            opened = socket.socket()
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            opened.settimeout(0.2)
            opened.connect(("127.0.0.1", one.port))
            with suppress(OSError):  # the server stops reading
                opened.sendall(page * 600)
            deaf.append(opened)
        wait_until(lambda: requests.get(f"{one.url}/v2/health/live", timeout=5).status_code == 200, 8)
        for opened in deaf:
            opened.close()


def status_of(port: int, data: bytes) -> bytes:
    """That the server answers with, while the client could send more."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        opened.sendall(data)
        return opened.recv(4096).split(b" ")[1]


def test_trailers_are_limited(server: Server) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(server.port, head + b"1\r\nx\r\n0\r\nA: b\r\n\r\n") == b"422"
    for trailer in (b"A: " + b"a" * 997 + b"\r\n", b"a" * 1000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
            opened.sendall(head + b"0\r\n")
            count = 0
            with suppress(OSError):
                while count < 50_000:
                    opened.sendall(trailer)
                    count += 1
        assert count < 50_000


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"0" * 5000 + b"4", b"422"), (b"0" * 30 + b"999999999", b"413"), (b"9" * 18, b"413")],
    ids=["zeros", "large", "digits"],
)
def test_a_length_may_have_many_digits(server: Server, length: bytes, status: bytes) -> None:
    assert status_of(server.port, POST + b"Content-Length: " + length + b"\r\n\r\nabcd") == status


def test_overload_is_refused_and_what_is_accepted_is_answered_in_time(trained: Path, image: bytes) -> None:
    with serving(trained, "--queue", 6, "--deadline", 3) as one:
        results: list[tuple[int, float, str | None]] = []

        def ask() -> None:
            session = requests.Session()
            for _ in range(10):
                began = time.monotonic()
                answer = session.post(f"{one.url}/predict", data=image, timeout=10)
                results.append((answer.status_code, time.monotonic() - began, answer.headers.get("retry-after")))

        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {status for status, *_ in results} == {200, 503}
        assert all((status == 503) == (retry is not None) for status, _, retry in results)
        assert max(seconds for status, seconds, _ in results if status == 200) < 4
        files = [("image", ("a.png", image))] * 7
        assert requests.post(f"{one.url}/predict", files=files, timeout=5).status_code == 503
        assert one.post("/predict", image).status_code == 200
        assert one.metric('tlcli_refusals_total{code="serve.queue_full"}') > 0
