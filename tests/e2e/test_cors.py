"""--cors-origins, --cors-headers and --cors-methods: what pages of other origins may do is the operator's to say."""

import pytest

from api import Client
from cluster import Cluster

PAGE = "https://app.example.org"


@pytest.fixture(scope="module")
def strict():
    cluster = Cluster(
        BACKEND_CORS_ORIGINS=f"{PAGE},http://localhost:3000",
        BACKEND_CORS_HEADERS="Authorization, x-backendai-date,x-own",
        BACKEND_CORS_METHODS="get,POST",
        BACKEND_WORKERS="1",
    )
    yield cluster
    cluster.close()


def preflight(cluster, path, origin=PAGE):
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = Client(cluster.endpoint).plain("OPTIONS", path, headers=asked)
    assert answer.status == 204, answer
    return {name.lower(): value for name, value in answer.headers.items()}


def test_preflights_say_what_the_operator_said(strict):
    told = preflight(strict, "/v4/kernel/some-session")
    assert told["access-control-allow-origin"] == PAGE and told["vary"] == "origin"
    assert told["access-control-allow-headers"] == "authorization, x-backendai-date, x-own"
    assert set(told["access-control-allow-methods"].split(", ")) == {"GET", "POST"}
    # What the path has is another matter.
    assert {"DELETE", "PATCH"} <= set(told["allow"].split(", "))
    assert "access-control-allow-origin" not in preflight(strict, "/v4", "https://evil.example.org")


def test_by_default_a_page_may_go_on_with_events_and_read_how_long_files_are(cluster):
    told = preflight(cluster, "/v4/kernel/some-session")
    assert told["access-control-allow-origin"] == "*"
    assert {"authorization", "last-event-id", "x-sorna-date"} <= set(told["access-control-allow-headers"].split(", "))
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(told["access-control-allow-methods"].split(", "))
    exposed = Client(cluster.endpoint).plain("GET", "/v4", headers={"Origin": PAGE})
    assert "x-total-payloads-length" in exposed.headers["Access-Control-Expose-Headers"].split(", ")
