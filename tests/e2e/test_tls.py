"""The API over TLS, and a certificate that is replaced, or broken, while the gateway runs."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest
from api import Client, eventually
from cluster import Cluster
from websocket import WebSocket


class Certificate:
    """A certificate for 127.0.0.1 that signs itself, and its key."""

    def __init__(self, folder):
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew()

    def renew(self):
        """Another pair in place of this one."""
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(self.key), "-out", str(self.cert)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def trust(self):
        """What a client has that trusts this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.cert))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(certificate):
    """A cluster whose API is served over TLS."""
    files = {"BACKEND_SSL_CERT": str(certificate.cert), "BACKEND_SSL_KEY": str(certificate.key)}
    cluster = Cluster(**files)
    cluster.settings |= files
    yield cluster
    cluster.close()


@pytest.fixture
def client(secure, certificate):
    key = secure.settings["BACKEND_ACCESS_KEY"], secure.settings["BACKEND_SECRET_KEY"]
    return Client(secure.endpoint, *key, tls=certificate.trust())


def gateway(secure, *command):
    return secure.program("backendai-gateway", *command)


def test_requests_on_one_connection(client, certificate):
    kept = Client(client.host, client.access_key, client.secret_key, tls=certificate.trust(), keep_alive=True)
    sockets = set()
    for number in range(20):
        answer = kept.signed("GET", "/v4/auth", {"echo": str(number)})
        assert (answer.status, answer.json) == (200, {"authorized": "yes", "echo": str(number)}), answer
        sockets.add(kept.kept.sock)
    assert len(sockets) == 1
    (connection,) = sockets
    assert connection.version() in ("TLSv1.2", "TLSv1.3")


def test_a_connection_that_was_idle_goes_on_and_ends_in_order(client, certificate):
    """One that is parked, if the gateway is quick; nothing hangs on that."""
    host, port = client.host.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        secured = certificate.trust().wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)
        for path in ("/v3", "/v4"):
            time.sleep(0.3)  # longer than it takes to be parked
            secured.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(secured)
            answer.begin()
            assert answer.status == 200 and "version" in json.load(answer)
        time.sleep(0.3)
        # Fails unless the server says that it ends, too.
        secured.unwrap()


def test_a_body_of_many_records_both_ways(client):
    echo = "x" * 500_000
    answer = client.signed("GET", "/v4/auth", {"echo": echo})
    assert (answer.status, answer.json["echo"]) == (200, echo)


def test_a_terminal(secure, client):
    token = client.started(lang="git")
    try:
        with WebSocket(client, f"/v4/stream/kernel/{token}/pty") as terminal:
            terminal.send({"type": "ping"})
            terminal.frame(9, b"still there?")
            assert eventually(lambda: terminal.receive_frame() == (10, b"still there?"))
    finally:
        client.destroy(token)


def test_plain_text_is_not_served(secure):
    with pytest.raises((OSError, http.client.HTTPException)):
        Client(secure.endpoint).plain("GET", "/v4")


def test_a_broken_certificate_keeps_the_workers_and_a_new_one_is_served(secure, client, certificate):
    before = secure.worker_pids()
    good = certificate.cert.read_text()
    certificate.cert.write_text("no certificate")
    os.kill(secure.pid("gateway"), signal.SIGHUP)
    secure.await_log("gateway", "not reloaded")
    for command in (["reload"], ["config", "check"]):
        done = gateway(secure, *command)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done
        assert str(certificate.cert) in done.stderr and "--ssl-cert" in done.stderr, done
    assert secure.worker_pids() == before
    assert client.signed("GET", "/v4/auth", {"echo": "x"}).status == 200

    # A key that is of another certificate is no better.
    certificate.renew()
    certificate.cert.write_text(good)
    assert gateway(secure, "reload").returncode == 1
    assert secure.worker_pids() == before

    certificate.renew()
    assert gateway(secure, "reload").returncode == 0
    # Those that drain take connections for a moment longer.
    eventually(lambda: not set(before) & set(secure.worker_pids()))
    fresh = Client(client.host, client.access_key, client.secret_key, tls=certificate.trust())
    assert fresh.signed("GET", "/v4/auth", {"echo": "x"}).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        client.signed("GET", "/v4/auth", {"echo": "x"})
