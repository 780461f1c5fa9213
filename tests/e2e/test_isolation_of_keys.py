"""Nobody sees, runs, stops or reads another key's session, by any route and verb."""

import pytest

from api import A_SECOND, eventually
from upload import upload

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
