"""--replay-protection: a signature changes something once only."""

import pytest

from cluster import Cluster
from sign import signed_headers


@pytest.fixture(scope="module")
def protected():
    cluster = Cluster(BACKEND_REPLAY_PROTECTION="1")
    yield cluster
    cluster.close()


def captured(client, method, target):
    """The headers of a request that somebody saw."""
    return signed_headers(method, target, client.host, client.access_key, client.secret_key, body=b"")


def test_a_signature_is_used_once_for_a_change_and_often_to_look(protected):
    client = protected.new_key()
    look = captured(client, "GET", "/v4/folders")
    assert [client.plain("GET", "/v4/folders", headers=look).status for _ in range(4)] == [200] * 4
    change = captured(client, "POST", "/v4/folders")
    told = [client.plain("POST", "/v4/folders", headers=change) for _ in range(4)]
    assert told[0].problem == (400, "invalid-api-params")
    assert [answer.problem for answer in told[1:]] == [(401, "auth-failed")] * 3


def test_what_was_signed_to_look_changes_nothing(protected):
    client = protected.new_key()
    token = client.started()
    target = f"/v4/kernel/{token}"
    seen = captured(client, "GET", target)
    assert client.plain("GET", target, headers=seen).status == 200
    for _ in range(2):
        answer = client.plain("GET", target, headers={**seen, "X-Method-Override": "DELETE"})
        assert answer.problem == (401, "auth-failed"), answer
    fresh = captured(client, "HEAD", target)
    assert client.plain("HEAD", target, headers={**fresh, "X-Method-Override": "PATCH"}).status == 401
    assert client.info(token).status == 200
    # What was signed as a change may stand for another one, once.
    change = {**captured(client, "POST", target), "X-Method-Override": "DELETE"}
    assert client.plain("POST", target, headers=change).status == 200
    assert client.plain("POST", target, headers=change).problem == (401, "auth-failed")
