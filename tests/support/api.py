"""A client of the gateway for tests: signed requests over http.client, and raw sockets for the rest."""

import http.client
import itertools
import json
import os
import socket
import time
import uuid

from sign import LATEST, signed_headers

JSON = "application/json"

# "Within a second", as changes of keys and images are promised to be seen, in seconds: what is over is for the requests
# by which a test looks, on a busy machine. Ten times as long would show nothing.
A_SECOND = 3


class Answer:
    """Status, headers (case-insensitive) and body of one response."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:500]!r}"

    @property
    def json(self):
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def slug(self):
        """The last part of a problem document's type; the content type has to be right as well."""
        assert self.headers.get_content_type() == "application/problem+json", self
        assert isinstance(self.json["title"], str) and self.json["title"], self
        prefix = "https://api.backend.ai/probs/"
        assert self.json["type"].startswith(prefix), self
        return self.json["type"][len(prefix) :]

    @property
    def problem(self):
        """(status, slug): what clients switch on."""
        return self.status, self.slug


class Client:
    """Signs as one key pair. A connection of its own for each request, unless `keep_alive`; over `tls`, an SSLContext,
    where one is given."""

    def __init__(
        self, endpoint, access_key=None, secret_key=None, *, version=LATEST, keep_alive=False, timeout=60, tls=None
    ):
        self.host = endpoint.removeprefix("http://")
        self.tls = tls
        self.access_key = access_key
        self.secret_key = secret_key
        self.version = version
        self.timeout = timeout
        self.kept = self.connection() if keep_alive else None

    def connection(self):
        """A new one, which connects when it is first used."""
        if self.tls:
            return http.client.HTTPSConnection(self.host, timeout=self.timeout, context=self.tls)
        return http.client.HTTPConnection(self.host, timeout=self.timeout)

    def as_version(self, version):
        """The same key, speaking another version of the API."""
        key = self.access_key, self.secret_key
        return Client(self.host, *key, version=version, timeout=self.timeout, tls=self.tls)

    def plain(self, method, target, body=b"", headers=None):
        """A request with exactly these headers, and those that HTTP needs."""
        connection = self.kept or self.connection()
        try:
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            if not self.kept:
                connection.close()

    def signed(self, method, target, body=None, *, headers=None, **options):
        """A signed request; `body` is sent as JSON, or as it is where it is bytes. Options: those of signed_headers."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        options.setdefault("version", self.version)
        all_headers = signed_headers(method, target, self.host, self.access_key, self.secret_key, body=raw, **options)
        return self.plain(method, target, raw, {**all_headers, **(headers or {})})

    # Sessions

    def prefix(self):
        """The path prefix of the client's version: /v4."""
        return "/" + self.version.partition(".")[0]

    def create(self, token=None, lang="python", **members):
        """POST /kernel/create; the token is made up where none is given."""
        token = token or new_token()
        body = {"lang": lang, "clientSessionToken": token, **members}
        return self.signed("POST", f"{self.prefix()}/kernel/create", body)

    def started(self, lang="python", **members):
        """A new session's name, having checked that it is new."""
        answer = self.create(lang=lang, **members)
        assert answer.status == 201, answer
        assert answer.json["created"] is True, answer
        return answer.json["kernelId"]

    def info(self, token):
        """GET /kernel/{id}."""
        return self.signed("GET", f"{self.prefix()}/kernel/{token}")

    def destroy(self, token):
        """DELETE /kernel/{id}."""
        return self.signed("DELETE", f"{self.prefix()}/kernel/{token}")

    def execute(self, token, code, mode="query", run_id=None, **members):
        """POST /kernel/{id}, once."""
        body = {"mode": mode, "code": code, "runId": run_id, **members}
        return self.signed("POST", f"{self.prefix()}/kernel/{token}", body)

    def run(self, token, code, mode="query", inputs=(), **members):
        """Follows a run to its end as the released clients do. Returns (results of all calls, console of all)."""
        inputs, run_id = iter(inputs), members.pop("run_id", None)
        results, console = [], []
        for _ in itertools.islice(itertools.count(), 100):
            answer = self.execute(token, code, mode, run_id, **members)
            assert answer.status == 200, answer
            result = answer.json["result"]
            results.append(result)
            console += result["console"]
            run_id, members = result["runId"], {}
            if result["status"] == "finished":
                return results, console
            mode, code = ("input", next(inputs)) if result["status"] == "waiting-input" else ("continue", "")
        raise AssertionError(f"the run does not end: {results[-3:]}")


def new_token():
    """A session name that no other test has."""
    return "t-" + uuid.uuid4().hex


def text_of(console, stream="stdout"):
    """What a console holds of one stream."""
    return "".join(data for name, data in console if name == stream)


class Raw:
    """A bare connection: bytes out, bytes in; within TLS where an SSLContext is given."""

    def __init__(self, host, timeout=30, tls=None):
        name, _, port = host.partition(":")
        self.socket = socket.create_connection((name, int(port)), timeout=timeout)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name)
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def send(self, data):
        """Sends all of it."""
        self.socket.sendall(data)

    def receive(self, method="GET"):
        """One response, or None where the server closed the connection instead."""
        line = self.reader.readline()
        if not line:
            return None
        version, status, _ = line.decode("latin-1").split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), line
        headers = http.client.parse_headers(self.reader)
        bodiless = method == "HEAD" or status.startswith("1") or status in ("204", "304")
        if bodiless:
            body = b""
        elif headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self.chunks())
        elif headers.get("Content-Length") is not None:
            body = self.reader.read(int(headers["Content-Length"]))
        else:
            body = self.reader.read()
        return Answer(int(status), headers, body)

    def chunks(self):
        """The chunks of a chunked body."""
        while size := int(self.reader.readline().partition(b";")[0], 16):
            yield self.reader.read(size)
            self.reader.readline()
        self.reader.readline()

    def is_closed(self):
        """Waits until the server closes; False where it sends something instead."""
        try:
            return self.reader.read(1) == b""
        except ConnectionResetError:
            return True


def eventually(check, seconds=10, every=0.05):
    """The first true value of `check()`; fails after a time that is far more than it should take."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s; last: {value!r}"
        time.sleep(every)


def environment_client(**options):
    """The client of the key pair and endpoint that the environment names."""
    key = os.environ["BACKEND_ACCESS_KEY"], os.environ["BACKEND_SECRET_KEY"]
    return Client(os.environ["BACKEND_ENDPOINT"], *key, **options)
