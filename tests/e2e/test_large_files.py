"""Files of folders go through the gateway a piece at a time: 2 GiB cost no worker more than a few pieces."""

import http.client
import uuid
from pathlib import Path

import pytest

from sign import signed_headers
from upload import BOUNDARY, FORM, upload

SIZE = 2 << 30
PIECE = bytes(range(256)) * 4096
MOST_KIB = 8 << 10


def peaks(cluster):
    """KiB that the workers' resident memory has been at most, each since it was last set back."""
    found = {}
    for pid in cluster.worker_pids():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found[pid] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return found


def set_back(cluster):
    for pid in cluster.worker_pids():
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peaks(cluster)


def ask(client, method, target, body=None, **headers):
    """A signed request over a connection of its own: its response, to be read."""
    signed = signed_headers(
        method, target, client.host, client.access_key, client.secret_key, body=b"", content_type=headers.get("Content-Type")
    )
    connection = http.client.HTTPConnection(client.host, timeout=120)
    connection.request(method, target, body, {**signed, **headers})
    return connection.getresponse()


@pytest.mark.timeout(600)
def test_two_gib_cost_little_memory(cluster, client):
    name = f"f-{uuid.uuid4().hex[:12]}"
    path = f"/v4/folders/{name}"
    assert client.signed("POST", "/v4/folders", {"name": name}).status == 201
    cluster.sql(f"UPDATE vfolders SET max_size = {4 << 20} WHERE name = '{name}'")
    try:
        # What the first transfer brings for all is not what each costs.
        for _ in range(16):
            assert upload(client, f"{path}/upload", ("warm", PIECE * 2)).status == 201
            assert client.signed("GET", f"{path}/download?files=warm").status == 200
        before = set_back(cluster)
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="src"; filename="big"\r\n'
        head = f"{head}Content-Type: application/octet-stream\r\n\r\n".encode()
        end = f"\r\n--{BOUNDARY}--\r\n".encode()

        def body():
            yield head
            for _ in range(SIZE // len(PIECE)):
                yield PIECE
            yield end

        length = str(len(head) + SIZE + len(end))
        sent = ask(client, "POST", f"{path}/upload", body(), **{"Content-Type": FORM, "Content-Length": length})
        assert sent.status == 201, sent.read()
        listing = client.signed("GET", f"{path}/files").json["files"]
        assert f'"size":{SIZE}' in listing.replace(" ", ""), listing
        after_upload = peaks(cluster)
        got = ask(client, "GET", f"{path}/download?files=big")
        assert got.status == 200 and int(got.headers["X-TOTAL-PAYLOADS-LENGTH"]) == SIZE
        received, buffer = 0, bytearray(1 << 20)
        while count := got.readinto(buffer):
            received += count
        assert received >= SIZE
        after_download = peaks(cluster)
        assert set(before) == set(after_download)
        grown = {pid: (after_upload[pid] - before[pid], after_download[pid] - before[pid]) for pid in before}
        print("KiB more at the peak, after the upload and after the download:", grown)
        assert all(more <= MOST_KIB for both in grown.values() for more in both), grown
    finally:
        assert client.signed("DELETE", f"{path}?force=true").status == 204
