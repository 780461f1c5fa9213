"""Nobody sees, runs, stops or reads another key's session, by any route and verb."""

import json
import uuid

import pytest

from api import A_SECOND, eventually
from cluster import ROOT
from upload import upload
from websocket import request

# Every route that names a session; the body of each would do for its owner.
ROUTES = {
    "info": ("GET", "", None),
    "execute": ("POST", "", {"mode": "query", "runId": None, "code": "open('seen', 'w').write('x')"}),
    "input": ("POST", "", {"mode": "input", "runId": "mine", "code": "x"}),
    "continue": ("POST", "", {"mode": "continue", "runId": "mine", "code": ""}),
    "restart": ("PATCH", "", None),
    "destroy": ("DELETE", "", None),
    "interrupt": ("POST", "/interrupt", None),
    "complete": ("POST", "/complete", {"code": "secr"}),
    "upload": ("POST", "/upload", "form"),
    "download": ("GET", "/download?files=secret.txt", None),
    "files": ("GET", "/files", None),
    "logs": ("GET", "/logs", None),
}


def send(client, token, name, prefix="/v4"):
    method, rest, body = ROUTES[name]
    path = f"{prefix}/kernel/{token}{rest}"
    return upload(client, path, ("seen", b"x")) if body == "form" else client.signed(method, path, body)


# Those that go on, which are asked for by an upgrade or as events.
STREAMS = ["pty", "execute", "events"]
# Every route that names a folder; the body of each would do for its owner.
FOLDER_ROUTES = {
    "info": ("GET", "", None),
    "delete": ("DELETE", "", None),
    "upload": ("POST", "/upload", "form"),
    "mkdir": ("POST", "/mkdir", {"path": "seen"}),
    "files": ("GET", "/files", None),
    "download": ("GET", "/download?files=secret.txt", None),
    "delete_files": ("DELETE", "/delete_files", {"files": ["secret.txt"]}),
    "invite": ("POST", "/invite", {"perm": "ro", "user_ids": ["1"]}),
}
# Routes that name neither: what they are asked to do is told by their own tests.
STUBS = {"/folder/{id}"}


@pytest.fixture
def owned(client, session):
    """A session with a secret in its memory and files."""
    client.run(session, "secret = 42; open('secret.txt', 'w').write('42')")
    return session


@pytest.mark.parametrize("name", ROUTES)
def test_another_keys_session_is_not_there(cluster, client, owned, name):
    other = cluster.new_key()
    for prefix in ("/v4", "/v2", ""):
        assert send(other, owned, name, prefix).problem == (404, "kernel-not-found")
    code = "import os; print(secret, open('secret.txt').read(), os.path.exists('seen'))"
    assert client.run(owned, code)[1] == [["stdout", "42 42 False\n"]]


@pytest.mark.parametrize("name", ROUTES)
def test_an_admins_key_is_a_key_like_any_other_unless_it_says_for_whom(cluster, client, owned, name):
    admin = cluster.new_key(is_admin=True)
    assert send(admin, owned, name).problem == (404, "kernel-not-found")
    assert client.run(owned, "print(secret)")[1] == [["stdout", "42\n"]]


@pytest.mark.parametrize("name", ROUTES)
def test_naming_an_owner_helps_admins_alone(cluster, client, owned, name):
    other = cluster.new_key()
    method, rest, body = ROUTES[name]
    rest += ("&" if "?" in rest else "?") + f"owner_access_key={client.access_key}"
    path = f"/v4/kernel/{owned}{rest}"
    answer = upload(other, path, ("seen", b"x")) if body == "form" else other.signed(method, path, body)
    assert answer.problem == (401, "auth-failed")
    assert client.run(owned, "print(secret)")[1] == [["stdout", "42\n"]]


def test_one_name_for_two_keys_is_two_sessions(cluster, client, owned):
    other = cluster.new_key()
    assert other.create(owned).json == {"kernelId": owned, "created": True}
    assert other.run(owned, "print('secret' in globals())")[1] == [["stdout", "False\n"]]
    other.run(owned, "secret = 'theirs'")
    assert client.run(owned, "print(secret)")[1] == [["stdout", "42\n"]]
    queries = client.info(owned).json["numQueriesExecuted"]
    other.info(owned)
    assert client.info(owned).json["numQueriesExecuted"] == queries + 1
    assert other.destroy(owned).status == 200
    assert client.info(owned).status == 200


def test_a_run_of_one_keys_is_nothing_to_another(cluster, client, owned):
    """Runs are told apart by their session too."""
    other = cluster.new_key()
    other.create(owned)
    waiting = client.execute(owned, "print(input())", run_id="mine").json["result"]
    assert waiting["status"] == "waiting-input"
    # For the other it is no run that waits: this is a query.
    assert other.execute(owned, "print('theirs')", run_id="mine").json["result"]["console"] == [["stdout", "theirs\n"]]
    assert client.execute(owned, "ours", "input", "mine").json["result"]["console"] == [["stdout", "ours\n"]]
    assert other.destroy(owned).status == 200


@pytest.mark.parametrize("name", ROUTES)
def test_nobody_at_all_gets_in(cluster, owned, name):
    method, rest, _ = ROUTES[name]
    answer = cluster.new_key().plain(method, f"/v4/kernel/{owned}{rest}")
    assert answer.status in (400, 401), answer


@pytest.mark.parametrize("name", ROUTES)
def test_a_key_that_was_switched_off_loses_its_sessions(cluster, client, owned, name):
    cluster.sql(f"UPDATE keypairs SET is_active = false WHERE access_key = '{client.access_key}'")
    try:
        # Workers hear of it within a second.
        eventually(lambda: {client.info(owned).status for _ in range(16)} == {401}, seconds=A_SECOND)
        assert send(client, owned, name).problem == (401, "auth-failed")
    finally:
        cluster.sql(f"UPDATE keypairs SET is_active = true WHERE access_key = '{client.access_key}'")
        eventually(lambda: {client.info(owned).status for _ in range(16)} == {200})


def test_no_route_that_names_something_is_forgotten():
    """The gateway describes every route of its table; each that has a name in its path is asked for above or below."""
    described = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    named = {
        (method.upper(), path) for path, methods in described.items() for method in methods
        if "{" in path and path not in STUBS and method != "parameters"
    }  # fmt: skip
    asked = {(method, "/kernel/{id}" + rest.partition("?")[0]) for method, rest, _ in ROUTES.values()}
    asked |= {(method, "/folders/{name}" + rest.partition("?")[0]) for method, rest, _ in FOLDER_ROUTES.values()}
    asked |= {("GET", "/stream/kernel/{id}/" + name) for name in STREAMS}
    assert asked == named


@pytest.mark.parametrize("name", STREAMS)
def test_another_keys_streams_are_not_there(cluster, client, owned, name):
    other, admin = cluster.new_key(), cluster.new_key(is_admin=True)
    path = f"/v4/stream/kernel/{owned}/{name}"
    for stranger, target, problem in (
        (other, path, (404, "kernel-not-found")),
        (admin, path, (404, "kernel-not-found")),
        (other, f"{path}?owner_access_key={client.access_key}", (401, "auth-failed")),
    ):
        refused = stranger.signed("GET", target) if name == "events" else request(stranger, target)[1]
        assert refused.problem == problem, target
    assert client.run(owned, "print(secret)")[1] == [["stdout", "42\n"]]


@pytest.fixture
def folder(client):
    """A folder with a file."""
    name = f"f-{uuid.uuid4().hex[:12]}"
    assert client.signed("POST", "/v4/folders/", {"name": name}).status == 201
    assert upload(client, f"/v4/folders/{name}/upload", ("secret.txt", b"42")).status == 201
    yield name
    assert client.signed("DELETE", f"/v4/folders/{name}?force=true").status == 204


@pytest.mark.parametrize("name", FOLDER_ROUTES)
def test_another_keys_folder_is_not_there(cluster, client, folder, name):
    other, admin = cluster.new_key(), cluster.new_key(is_admin=True)
    method, rest, body = FOLDER_ROUTES[name]
    owner = ("&" if "?" in rest else "?") + f"owner_access_key={client.access_key}"
    for stranger, query, problem in (
        (other, "", (404, "folder-not-found")),
        (admin, "", (404, "folder-not-found")),
        (other, owner, (401, "auth-failed")),
    ):
        path = f"/v4/folders/{folder}{rest}{query}"
        is_form = body == "form"
        answer = upload(stranger, path, ("seen", b"x")) if is_form else stranger.signed(method, path, body)
        assert answer.problem == problem, (stranger, answer)
    files = json.loads(client.signed("GET", f"/v4/folders/{folder}/files").json["files"])
    assert [one["filename"] for one in files] == ["secret.txt"]


def test_an_invitation_is_its_invitees_alone(cluster, client, folder):
    def of_user(user):
        key = cluster.new_key()
        cluster.sql(f"UPDATE keypairs SET user_id = {user} WHERE access_key = '{key.access_key}'")
        return key

    user = int(uuid.uuid4().hex[:6], 16)
    guest, stranger = of_user(user), of_user(user + 1)
    assert client.signed("POST", f"/v4/folders/{folder}/invite", {"perm": "rw", "user_ids": [str(user)]}).status == 201
    invitations = lambda key: key.signed("GET", "/v4/folders/invitations/list").json["invitations"]  # noqa: E731
    [invitation] = invitations(guest)
    assert invitations(stranger) == []
    for key in (stranger.access_key, guest.access_key):
        accept = {"inv_id": invitation["id"], "inv_ak": key}
        answer = stranger.signed("POST", "/v4/folders/invitations/accept", accept)
        assert answer.problem == (404, "folder-not-found"), answer
    refuse = {"inv_id": invitation["id"]}
    assert stranger.signed("DELETE", "/v4/folders/invitations/delete", refuse).problem == (404, "folder-not-found")
    assert stranger.signed("GET", f"/v4/folders/{folder}").problem == (404, "folder-not-found")
    theirs = f"/v4/folders/invitations/list?owner_access_key={guest.access_key}"
    assert stranger.signed("GET", theirs).problem == (401, "auth-failed")
    assert [one["id"] for one in invitations(guest)] == [invitation["id"]]
    # It was not used up by any of that.
    accept = {"inv_id": invitation["id"], "inv_ak": guest.access_key}
    assert guest.signed("POST", "/v4/folders/invitations/accept", accept).status == 201
    assert guest.signed("GET", f"/v4/folders/{folder}").json["permission"] == "rw"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/invitations/list")])
def test_naming_an_owner_of_folders_helps_admins_alone(cluster, client, folder, method, path):
    body = {"name": "planted"} if method == "POST" else None
    target = f"/v4/folders{path}?owner_access_key={client.access_key}"
    assert cluster.new_key().signed(method, target, body).problem == (401, "auth-failed")
    assert "planted" not in [one["name"] for one in client.signed("GET", "/v4/folders").json]
    assert cluster.new_key(is_admin=True).signed("GET", f"/v4/folders{path if method == 'GET' else ''}?owner_access_key={client.access_key}").status == 200
