"""Paths, prefixes and what every response carries."""

import pytest

from api import LATEST, Client, new_token

VERSIONS = ["v1.20160915", "v2.20170315", "v3.20170615", "v4.20181215"]
PREFIXES = ["/v1", "/v2", "/v3", "/v4"]


@pytest.mark.parametrize("path", ["/", *PREFIXES])
def test_version_routes_name_the_latest(cluster, path):
    answer = Client(cluster.endpoint).plain("GET", path)
    assert answer.status == 200, answer
    assert answer.json == {"version": LATEST}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_the_routes_below_its_prefix(client, version):
    old = client.as_version(version)
    answer = old.signed("GET", f"{old.prefix()}/kernel/{new_token()}")
    assert answer.problem == (404, "kernel-not-found")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_path_without_prefix_takes_the_version_of_the_header(client, version):
    answer = client.as_version(version).signed("GET", f"/kernel/{new_token()}")
    assert answer.problem == (404, "kernel-not-found")
    # Versions below 4 also say when the window moves on.
    assert ("X-RateLimit-Reset" in answer.headers) == (version != LATEST), answer


@pytest.mark.parametrize("path", ["/v0/kernel/x", "/v5/kernel/x", "/v9/kernel/x", "/v10/kernel/x"])
def test_an_unknown_major_version_is_a_bad_request(client, path):
    answer = client.signed("GET", path)
    assert answer.problem == (400, "generic-bad-request")
    assert answer.json["title"] == "Bad request. (Unsupported API major version.)"


@pytest.mark.parametrize("path", ["/nope", "/v4/nope", "/v4/kernel/a/b/c/d", "/v4/kernel/x/nope", "/%2e%2e/"])
def test_an_unknown_path_is_not_found(client, path):
    answer = client.signed("GET", path)
    assert answer.problem == (404, "generic-not-found")
    assert answer.json["title"] == "Unknown URL path."


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v4/authorize", {"GET", "POST"}),
        ("DELETE", "/v4/auth/test", {"GET", "POST"}),
        ("PUT", "/v4/kernel/", {"POST"}),
        ("PUT", "/v4/kernel/some-session", {"GET", "POST", "DELETE"}),
        ("POST", "/v4", {"GET"}),
    ],
)
def test_a_known_path_with_another_method_names_the_right_ones(client, method, path, allowed):
    answer = client.signed(method, path)
    assert answer.problem == (405, "method-not-allowed")
    named = {name.strip() for name in answer.headers["Allow"].split(",")}
    assert allowed <= named and method not in named, answer


def test_method_override_moves_the_route_and_not_the_signature(client, session):
    answer = client.signed("POST", f"/v4/kernel/{session}", headers={"X-Method-Override": "GET"})
    assert answer.status == 200 and answer.json["numQueriesExecuted"] == 1, answer
    answer = client.signed("POST", f"/v4/kernel/{session}", headers={"X-Method-Override": "DELETE"})
    assert answer.status == 200 and "stats" in answer.json, answer
    assert client.info(session).problem == (404, "kernel-not-found")


def test_method_override_to_a_method_that_the_path_lacks(client):
    answer = client.signed("GET", "/v4/authorize", {"echo": "x"}, headers={"X-Method-Override": "PUT"})
    assert answer.problem == (405, "method-not-allowed")


@pytest.mark.parametrize("path", ["/v4", "/v4/nope", "/v4/auth"])
def test_every_response_names_server_and_limits(cluster, path):
    answer = Client(cluster.endpoint).plain("GET", path)
    assert answer.headers["Server"] == f"BackendAI-API/{LATEST}"
    assert answer.headers["X-RateLimit-Limit"] == "1000"
    assert answer.headers["X-RateLimit-Remaining"] == "1000"
    assert answer.headers["X-RateLimit-Window"] == "900"


def test_the_version_in_the_path_says_whether_the_window_moves_on(cluster):
    nobody = Client(cluster.endpoint)
    for path in ("/v1", "/v2/nope", "/v3/auth"):
        assert "X-RateLimit-Reset" in nobody.plain("GET", path).headers, path
        assert "X-RateLimit-Reset" in nobody.plain("GET", path, headers={"X-BackendAI-Version": LATEST}).headers, path
    for path in ("/", "/v4", "/v4/nope"):
        assert "X-RateLimit-Reset" not in nobody.plain("GET", path).headers, path


def test_preflight_answers_for_any_page_by_default(cluster):
    asked = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization, content-type, x-backendai-date, x-backendai-version",
    }
    for path in ["/v4/kernel/some-session", "/v4/auth", "/v4", "/kernel/create"]:
        answer = Client(cluster.endpoint).plain("OPTIONS", path, headers=asked)
        assert answer.status in (200, 204), answer
        assert answer.headers["Access-Control-Allow-Origin"] == "*", answer
        assert "Access-Control-Allow-Credentials" not in answer.headers
        headers = answer.headers["Access-Control-Allow-Headers"].lower()
        assert headers == "*" or all(
            name in headers for name in ("authorization", "content-type", "x-backendai-date", "x-backendai-version")
        ), answer
    answer = Client(cluster.endpoint).plain("OPTIONS", "/v4/kernel/some-session", headers=asked)
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"], answer


def test_a_page_may_read_any_answer_and_its_limits(client):
    answer = client.signed("GET", "/v4/auth", {"echo": "x"}, headers={"Origin": "https://example.org"})
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
