"""Virtual folders: made, filled, read, shared, removed; and nothing outside of them."""

import gzip
import json
import uuid
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest

from api import Client, eventually, text_of
from conftest import destroy_all
from upload import archives
from upload import upload as send_files


@pytest.fixture
def folder(client):
    name = f"f-{uuid.uuid4().hex[:12]}"
    answer = client.signed("POST", "/v4/folders/", {"name": name})
    assert answer.status == 201 and answer.json["name"] == name and len(answer.json["id"]) == 32
    yield name
    client.signed("DELETE", f"/v4/folders/{name}?force=true")


def multipart(files):
    boundary = uuid.uuid4().hex
    body = b""
    for name, content in files:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="src"; filename="{name}"\r\n'.encode()
        body += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def upload(client, folder, *files):
    body, content_type = multipart(files)
    return client.signed("POST", f"/v4/folders/{folder}/upload", body, content_type=content_type)


def downloaded(answer):
    """(name, content) of each file of a download."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    parts = BytesParser(policy=policy.HTTP).parsebytes(head + answer.body).get_payload()
    assert {part["Content-Encoding"] for part in parts} == {"gzip"}
    raw = [part.get_payload(decode=True) for part in parts]
    assert [len(content) for content in raw] == [int(part["Content-Length"]) for part in parts]
    return [(part.get_filename(), gzip.decompress(content)) for part, content in zip(parts, raw)]


def listed(client, folder, path="."):
    answer = client.signed("GET", f"/v4/folders/{folder}/files?path={path}")
    assert answer.status == 200, answer
    return {entry["filename"]: entry for entry in json.loads(answer.json["files"])}


def test_a_folder_from_beginning_to_end(client, folder):
    assert client.signed("POST", f"/v4/folders/{folder}/mkdir", {"path": "a/b"}).status == 201
    assert upload(client, folder, ("a/b/x.txt", b"content"), ("y.bin", bytes(range(256)) * 1000)).status == 201
    assert set(listed(client, folder)) == {"a", "y.bin"}
    assert listed(client, folder, "a/b")["x.txt"]["size"] == 7
    info = client.signed("GET", f"/v4/folders/{folder}").json
    assert (info["name"], info["numFiles"], info["is_owner"], info["permission"]) == (folder, 2, True, "wd")
    down = client.signed("GET", f"/v4/folders/{folder}/download?files=y.bin&files=a/b/x.txt")
    assert down.status == 200 and down.headers["X-TOTAL-PAYLOADS-LENGTH"] == str(7 + 256_000)
    assert downloaded(down) == [("y.bin", bytes(range(256)) * 1000), ("x.txt", b"content")]
    assert client.signed("DELETE", f"/v4/folders/{folder}/delete_files", {"files": ["a"]}).status == 400
    assert client.signed("DELETE", f"/v4/folders/{folder}/delete_files", {"files": ["a"], "recursive": True}).status == 200
    assert set(listed(client, folder)) == {"y.bin"}
    assert folder in [one["name"] for one in client.signed("GET", "/v4/folders").json]
    assert client.signed("DELETE", f"/v4/folders/{folder}").status == 204
    assert client.signed("GET", f"/v4/folders/{folder}").problem == (404, "folder-not-found")


def test_names(client, folder):
    assert client.signed("POST", "/v4/folders", {"name": folder}).problem == (400, "folder-already-exists")
    for bad in ["", ".", "..", "-a", "a-", "a/b", "ä", "a b", "x" * 65, 7]:
        assert client.signed("POST", "/v4/folders", {"name": bad}).problem == (400, "invalid-api-params"), bad
    assert client.signed("POST", "/v4/folders", {"name": "ok", "host": "nowhere"}).problem == (400, "invalid-api-params")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a/./b", "a//b", "a\0b", "x" * 256, "..", "."])
def test_path_tricks(client, folder, path):
    """Refused wherever a path can be named."""
    assert client.signed("POST", f"/v4/folders/{folder}/mkdir", {"path": path}).status == 400
    delete = {"files": [path], "recursive": True}
    assert client.signed("DELETE", f"/v4/folders/{folder}/delete_files", delete).status == 400
    quoted = "".join(f"%{byte:02x}" for byte in path.encode())
    assert client.signed("GET", f"/v4/folders/{folder}/download?files={quoted}").status == 400
    if "\0" not in path:
        assert upload(client, folder, (path, b"x")).status == 400
    assert listed(client, folder) == {}


def test_links_that_point_outside_are_not_followed(cluster, client, folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("outside")
    root = cluster.data / "volumes" / "local" / client.signed("GET", f"/v4/folders/{folder}").json["id"]
    (root / "file").symlink_to(secret)
    (root / "dir").symlink_to(tmp_path)
    for path in ["file", "dir/secret"]:
        assert client.signed("GET", f"/v4/folders/{folder}/download?files={path}").status == 400
    assert upload(client, folder, ("dir/planted", b"x")).status == 400
    assert client.signed("POST", f"/v4/folders/{folder}/mkdir", {"path": "dir/planted"}).status == 400
    assert client.signed("GET", f"/v4/folders/{folder}/files?path=dir").status == 400
    assert [path.name for path in tmp_path.iterdir()] == ["secret"] and secret.read_text() == "outside"


def test_another_key_has_nothing_of_it(cluster, client, folder):
    other = cluster.new_key()
    base = f"/v4/folders/{folder}"
    body, content_type = multipart([("x", b"x")])
    for method, path, sent in [
        ("GET", base, None),
        ("DELETE", base, None),
        ("POST", f"{base}/mkdir", {"path": "a"}),
        ("GET", f"{base}/files", None),
        ("GET", f"{base}/download?files=x", None),
        ("DELETE", f"{base}/delete_files", {"files": ["x"]}),
        ("POST", f"{base}/invite", {"perm": "ro", "user_ids": ["1"]}),
    ]:
        assert other.signed(method, path, sent).problem == (404, "folder-not-found"), (method, path)
    assert other.signed("POST", f"{base}/upload", body, content_type=content_type).problem == (404, "folder-not-found")
    assert folder not in [one["name"] for one in other.signed("GET", "/v4/folders").json]
    token = other.create(config={"mounts": [folder]})
    assert token.problem == (404, "folder-not-found")


def test_an_upload_that_is_broken_leaves_nothing(client, folder):
    body, content_type = multipart([("a", b"1" * 100_000), ("b", b"2")])
    broken = client.signed("POST", f"/v4/folders/{folder}/upload", body[:-40], content_type=content_type)
    assert broken.status == 400
    assert client.signed("POST", f"/v4/folders/{folder}/upload", {"x": 1}).problem == (400, "invalid-api-params")
    assert listed(client, folder) == {}


def test_an_upload_over_the_limit_is_told_so_while_it_is_sent(cluster, client, folder):
    """50 MiB into a folder of 1 MiB: the client is still sending when it is refused, and goes on with its connection."""
    cluster.sql(f"UPDATE vfolders SET max_size = 1024 WHERE name = '{folder}'")
    kept = Client(f"http://{client.host}", client.access_key, client.secret_key, keep_alive=True)
    big = bytes(50 << 20)
    assert upload(kept, folder, ("big", big)).problem == (412, "quota-exceeded")
    used = kept.kept.sock
    assert upload(kept, folder, ("../up", big)).problem == (400, "invalid-api-params")
    assert upload(kept, "no-such-folder", ("big", big)).problem == (404, "folder-not-found")
    assert listed(kept, folder) == {} and kept.kept.sock is used
    kept.kept.close()


def test_invitations(cluster, client, folder):
    user = int(uuid.uuid4().hex[:6], 16)
    guest = cluster.new_key()
    cluster.sql(f"UPDATE keypairs SET user_id = {user} WHERE access_key = '{guest.access_key}'")
    invited = client.signed("POST", f"/v4/folders/{folder}/invite", {"perm": "ro", "user_ids": [str(user)]})
    assert (invited.status, invited.json) == (201, {"invited_ids": [str(user)]})
    [invitation] = guest.signed("GET", "/v4/folders/invitations/list").json["invitations"]
    assert (invitation["perm"], invitation["state"]) == ("ro", "pending")
    accept = {"inv_id": invitation["id"], "inv_ak": guest.access_key}
    assert guest.signed("POST", "/v4/folders/invitations/accept", accept).status == 201
    seen = guest.signed("GET", f"/v4/folders/{folder}").json
    assert (seen["is_owner"], seen["permission"]) == (False, "ro")
    assert guest.signed("POST", f"/v4/folders/{folder}/mkdir", {"path": "a"}).status == 404
    assert guest.signed("DELETE", f"/v4/folders/{folder}").status == 404
    assert upload(client, folder, ("x", b"for guests")).status == 201
    assert downloaded(guest.signed("GET", f"/v4/folders/{folder}/download?files=x")) == [("x", b"for guests")]


@pytest.fixture
def guests(cluster, client, folder):
    """(one who may read, one who may write too) in a folder with a file; and where its files are."""
    assert upload(client, folder, ("file", b"for guests"), ("sub/deep", b"deep")).status == 201
    keys = []
    for perm in ("ro", "rw"):
        user, guest = int(uuid.uuid4().hex[:6], 16), cluster.new_key()
        cluster.sql(f"UPDATE keypairs SET user_id = {user} WHERE access_key = '{guest.access_key}'")
        assert client.signed("POST", f"/v4/folders/{folder}/invite", {"perm": perm, "user_ids": [str(user)]}).status == 201
        [invitation] = guest.signed("GET", "/v4/folders/invitations/list").json["invitations"]
        accept = {"inv_id": invitation["id"], "inv_ak": guest.access_key}
        assert guest.signed("POST", "/v4/folders/invitations/accept", accept).status == 201
        keys.append(guest)
    yield *keys, cluster.data / "volumes" / "local" / client.signed("GET", f"/v4/folders/{folder}").json["id"]
    for guest in keys:
        destroy_all(cluster, guest)


def written(client, token, path):
    """What Python says to a file's being written: nothing, or the system's words."""
    code = f"try:\n    open({path!r}, 'w').write('x')\nexcept OSError as error:\n    print(error.strerror)"
    return text_of(client.run(token, code)[1]).strip()


def test_who_may_read_mounts_read_only(cluster, folder, guests):
    reader, writer, place = guests
    token, other = (guest.started(config={"mounts": [folder]}) for guest in (reader, writer))
    for _ in range(2):
        for guest, session in ((reader, token), (writer, other)):
            told = guest.run(session, f"print(open('{folder}/file').read(), open('{folder}/sub/deep').read())")[1]
            assert told == [["stdout", "for guests deep\n"]]
        for path in (f"{folder}/new", f"{folder}/file", str(place / "new")):
            assert written(reader, token, path) == "Read-only file system", path
        assert written(reader, token, "own") == "" and written(writer, other, f"{folder}/new") == ""
        assert (place / "new").read_text() == "x"
        (place / "new").unlink()
        for guest, session in ((reader, token), (writer, other)):
            assert guest.signed("PATCH", f"/v4/kernel/{session}").status == 204
    for guest, session in ((reader, token), (writer, other)):
        assert guest.destroy(session).status == 200
    assert sorted(path.name for path in place.rglob("*")) == ["deep", "file", "sub"]
    assert str(place) not in Path("/proc/self/mountinfo").read_text()


def test_a_restart_gives_what_the_key_may_do_by_then(cluster, folder, guests):
    _, writer, place = guests
    token = writer.started(config={"mounts": [folder]})
    assert written(writer, token, f"{folder}/new") == ""
    cluster.sql(f"UPDATE vfolder_permissions SET permission = 'ro' WHERE access_key = '{writer.access_key}'")
    assert writer.signed("PATCH", f"/v4/kernel/{token}").status == 204
    assert written(writer, token, f"{folder}/newer") == "Read-only file system"
    cluster.sql(f"DELETE FROM vfolder_permissions WHERE access_key = '{writer.access_key}'")
    assert writer.signed("PATCH", f"/v4/kernel/{token}").status == 204
    told = writer.run(token, f"import os; print(os.path.exists('{folder}'))")[1]
    assert told == [["stdout", "False\n"]]
    assert (place / "file").read_bytes() == b"for guests"


def test_files_of_a_mount_through_the_session(folder, guests):
    reader, writer, place = guests
    (place / "out").symlink_to("/etc/passwd")
    for guest in (reader, writer):
        token = guest.started(config={"mounts": [folder]})
        base = f"/v4/kernel/{token}"
        names = {one["filename"] for one in json.loads(guest.signed("GET", f"{base}/files?path={folder}").json["files"])}
        assert names >= {"file", "sub", "out"}
        [archive] = archives(guest.signed("GET", f"{base}/download?files={folder}/sub/deep"))
        assert archive == {"deep": b"deep"}
        outside = guest.signed("GET", f"{base}/download?files={folder}/out")
        assert outside.problem == (500, "kernel-execution-failed"), outside
        sent = send_files(guest, f"{base}/upload", (f"{folder}/sent", b"sent"))
        if guest is writer:
            assert sent.status == 204 and (place / "sent").read_bytes() == b"sent"
        else:
            assert sent.problem == (400, "invalid-api-params") and not (place / "sent").exists()
            assert f"{folder}/sent is in a folder that may only be read" in sent.json["title"]


def test_where_no_agent_mounts_read_only_the_session_is_refused(cluster, folder, guests):
    """Agents of other projects: the row says so, until this one's next heartbeat that says something new."""
    reader, writer, _ = guests
    token = writer.started(config={"mounts": [folder]})
    able = "SELECT count(*) FROM agents WHERE status = 'ALIVE' AND read_only_mounts"
    assert cluster.sql(able) == [["1"]]

    def without(test):
        # A heartbeat may come between: what is looked for must not have been it.
        while True:
            cluster.sql("UPDATE agents SET read_only_mounts = false")
            answer = test()
            if cluster.sql(able) == [["0"]]:
                return answer

    refused = without(lambda: reader.create(config={"mounts": [folder]}))
    assert refused.problem == (503, "instance-not-available") and folder in refused.json["title"], refused
    assert "read-only" in refused.json["title"]
    cluster.sql(f"UPDATE vfolder_permissions SET permission = 'ro' WHERE access_key = '{writer.access_key}'")
    refused = without(lambda: writer.signed("PATCH", f"/v4/kernel/{token}"))
    assert refused.problem == (503, "instance-not-available"), refused
    assert writer.run(token, "print('on')")[1] == [["stdout", "on\n"]]
    # Whoever may write needs no such agent.
    assert cluster.sql("UPDATE agents SET read_only_mounts = false") == []
    eventually(lambda: cluster.sql(able) == [["1"]], seconds=30)
    assert reader.create(config={"mounts": [folder]}).status == 201


def test_a_folder_that_is_gone_from_its_volume(cluster, client, folder):
    """A fault of the operator's: told without its details, and found in the log by the request's id."""
    place = cluster.data / "volumes" / "local" / client.signed("GET", f"/v4/folders/{folder}").json["id"]
    place.rmdir()
    answer = client.signed("GET", f"/v4/folders/{folder}/files")
    assert answer.problem == (500, "internal-server-error"), answer
    request = answer.headers["X-Request-ID"]
    assert str(place) not in answer.body.decode()
    log = cluster.data / "log" / "gateway.log"
    eventually(lambda: any(request in line and '"status"' in line for line in log.read_text().splitlines()))
    place.mkdir()


def test_a_folder_that_a_session_has_mounted_stays(client, folder):
    token = client.started(config={"mounts": [folder]})
    assert client.signed("DELETE", f"/v4/folders/{folder}").problem == (409, "folder-in-use")
    assert client.destroy(token).status == 200
    assert client.signed("DELETE", f"/v4/folders/{folder}").status == 204


def test_nul_names_nothing(cluster, client):
    """PostgreSQL takes no NUL: what has one in it is refused before, not told as a fault of the database."""
    assert client.signed("POST", "/v4/folders", {"name": "plain"}).status == 201
    assert client.signed("GET", "/v4/folders/a%00b").problem == (404, "folder-not-found")
    invite = client.signed("POST", "/v4/folders/plain/invite", {"perm": "ro", "user_ids": ["\0"]})
    assert invite.problem == (400, "invalid-api-params")
    accept = {"inv_id": "6a1f0c9e-31f5-4a51-b2a8-0c2a6c2f5d11", "inv_ak": "\0"}
    answer = client.signed("POST", "/v4/folders/invitations/accept", accept)
    assert answer.problem == (400, "invalid-api-params")
    answer = cluster.client().signed("GET", "/v4/folders?owner_access_key=a%00")
    assert answer.problem == (401, "auth-failed")
    assert client.signed("DELETE", "/v4/folders/plain").status == 204
