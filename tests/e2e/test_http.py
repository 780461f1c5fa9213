"""What a client may send, well-formed or not; after each, the gateway goes on answering."""

import json
import re
import uuid

import pytest

from api import Client, Raw
from sign import signed_headers

MAX_BODY = 1 << 20


@pytest.fixture(autouse=True)
def still_answers(cluster):
    """Whatever a test sent: new connections are served, by every worker, and none has died."""
    before = cluster.worker_pids()
    yield
    for _ in range(16):
        assert Client(cluster.endpoint).plain("GET", "/v4").status == 200
    assert cluster.worker_pids() == before


@pytest.fixture
def host(cluster):
    return Client(cluster.endpoint).host


def request(client, echo="hello", *, method="GET", extra="", body=None, content_length=True, http="1.1"):
    """The bytes of a signed request for /v4/auth."""
    body = json.dumps({"echo": echo}).encode() if body is None else body
    headers = signed_headers(method, "/v4/auth", client.host, client.access_key, client.secret_key, body=body)
    if content_length:
        headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} /v4/auth HTTP/{http}\r\n{lines}{extra}\r\n".encode() + body


def echo_of(answer):
    assert answer is not None and answer.status == 200, answer
    return answer.json["echo"]


# Connections


def test_keep_alive(client, host):
    with Raw(host) as raw:
        for number in range(20):
            raw.send(request(client, f"n{number}"))
            assert echo_of(raw.receive()) == f"n{number}"


def test_fifty_pipelined_requests_are_answered_in_order(client, host):
    with Raw(host) as raw:
        raw.send(b"".join(request(client, f"n{number}") for number in range(50)))
        assert [echo_of(raw.receive()) for _ in range(50)] == [f"n{number}" for number in range(50)]


def test_pipelined_requests_of_different_speed_are_answered_in_order(client, host, session):
    code = json.dumps({"mode": "query", "runId": None, "code": "import time; time.sleep(0.5); print('slow')"}).encode()
    path = f"/v4/kernel/{session}"
    headers = signed_headers("POST", path, client.host, client.access_key, client.secret_key, body=code)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    slow = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(code)}\r\n\r\n".encode() + code
    with Raw(host) as raw:
        raw.send(slow + request(client, "fast"))
        assert raw.receive().json["result"]["console"] == [["stdout", "slow\n"]]
        assert echo_of(raw.receive()) == "fast"


def test_connection_close(client, host):
    with Raw(host) as raw:
        raw.send(request(client, extra="Connection: close\r\n"))
        assert echo_of(raw.receive()) == "hello"
        assert raw.is_closed()


def test_http_1_0(client, host):
    with Raw(host) as raw:
        raw.send(request(client, http="1.0"))
        assert echo_of(raw.receive()) == "hello"
        assert raw.is_closed()


def test_a_request_in_single_bytes(client, host):
    with Raw(host) as raw:
        for byte in request(client):
            raw.send(bytes([byte]))
        assert echo_of(raw.receive()) == "hello"


def test_a_client_that_goes_away_in_the_middle(client, host):
    whole = request(client)
    for length in (1, 10, len(whole) // 2, len(whole) - 1, len(whole)):
        with Raw(host) as raw:
            raw.send(whole[:length])


# Bodies


def test_a_chunked_body(client, host):
    body = b'{"echo": "in chunks"}'
    head = request(client, body=body, content_length=False, extra="Transfer-Encoding: chunked\r\n")[: -len(body)]
    with Raw(host) as raw:
        raw.send(head)
        for start in range(0, len(body), 5):
            chunk = body[start : start + 5]
            raw.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        raw.send(b"0\r\n\r\n")
        assert echo_of(raw.receive()) == "in chunks"
        raw.send(request(client, "after"))
        assert echo_of(raw.receive()) == "after"


def test_expect_100_continue(client, host):
    body = b'{"echo": "waited"}'
    whole = request(client, body=body, extra="Expect: 100-continue\r\n")
    with Raw(host) as raw:
        raw.send(whole[: -len(body)])
        assert raw.receive().status == 100
        raw.send(body)
        assert echo_of(raw.receive()) == "waited"


def test_a_body_of_just_the_limit(client):
    text = "x" * (MAX_BODY - len(json.dumps({"echo": ""})))
    answer = client.signed("POST", "/v4/auth", {"echo": text})
    assert answer.status == 200 and answer.json["echo"] == text, answer.status


def test_a_body_over_the_limit_by_its_length(client, host):
    whole = request(client, method="POST", body=b" " * (MAX_BODY + 1))
    with Raw(host) as raw:
        raw.send(whole[: -(MAX_BODY + 1)])
        answer = raw.receive()
        assert answer.problem == (413, "body-too-large"), answer


def test_a_body_over_the_limit_in_chunks(client, host):
    head = request(client, method="POST", body=b"", content_length=False, extra="Transfer-Encoding: chunked\r\n")
    with Raw(host) as raw:
        raw.send(head)
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(MAX_BODY // 0x10000 + 1):
            raw.send(chunk)
        answer = raw.receive()
        assert answer.status == 413 and answer.slug, answer


# Heads


def has_limits(answer):
    """A request that nobody could read is told what anybody is."""
    told = [answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Window")]
    assert told == ["1000", "1000", "900"], answer


@pytest.mark.parametrize("extra", ["X-Large: " + "a" * 100_000 + "\r\n", "".join(f"X-{n}: a\r\n" for n in range(2000))])
def test_headers_too_large(client, host, extra):
    with Raw(host) as raw:
        raw.send(request(client, extra=extra))
        answer = raw.receive()
        assert answer.problem == (431, "headers-too-large"), answer
        has_limits(answer)


def test_a_url_too_long(host):
    with Raw(host) as raw:
        raw.send(f"GET /v4?{'a' * 70_000} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = raw.receive()
        # The head's limit is below the one that the HTTP library has for URLs.
        assert answer.problem == (431, "headers-too-large"), answer


@pytest.mark.parametrize("sent", ["GET /v4 HTTP/1.1\r\nHo", "POST /v4/auth HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_end(host, sent):
    with Raw(host, timeout=100) as raw:
        raw.send(sent.encode())
        answer = raw.receive()
        assert answer.problem == (408, "request-timeout"), answer
        has_limits(answer)
        assert raw.is_closed()


def test_a_body_that_does_not_end(client, host):
    with Raw(host, timeout=100) as raw:
        raw.send(request(client)[:-1])
        answer = raw.receive()
        assert answer.problem == (408, "request-timeout"), answer
        assert raw.is_closed()


def test_head_requests_have_no_body(host, client):
    with Raw(host) as raw:
        raw.send(f"HEAD /v4 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert raw.receive("HEAD").status in (200, 405)
        raw.send(request(client, "next"))
        assert echo_of(raw.receive()) == "next"


@pytest.mark.parametrize(
    "extra",
    ["Host: example.org\r\n", "Content-Length: 3\r\n", "Bad Name: x\r\n", "No-Colon\r\n", "X-Nul: a\0b\r\n"],
)
def test_contradicting_or_broken_headers_are_refused(client, host, extra):
    with Raw(host) as raw:
        raw.send(request(client, extra=extra))
        answer = raw.receive()
        assert answer.status == 400 and answer.slug, answer
        has_limits(answer)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
        b"\0" * 1000,
        b"GET\r\n\r\n",
        b"GET /v4 HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\r\nhello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f",
        "GET /ключ HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    ],
)
def test_garbage(host, garbage):
    with Raw(host) as raw:
        raw.send(garbage)
        try:
            answer = raw.receive()
        except ConnectionResetError:
            return
        assert answer is None or 400 <= answer.status < 600, answer


# Request ids


def test_every_answer_has_an_id_of_its_own(cluster):
    ids = [Client(cluster.endpoint).plain("GET", path).headers["X-Request-Id"] for path in ("/v4", "/v4/nope") * 4]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w.:-]{8,64}", one) for one in ids), ids


def test_a_clients_own_id_comes_back_and_stands_in_the_log(cluster):
    mine = f"test-{uuid.uuid4()}"
    assert Client(cluster.endpoint).plain("GET", "/v4/nope", headers={"X-Request-Id": mine}).headers["X-Request-Id"] == mine
    cluster.await_log("gateway", mine)
