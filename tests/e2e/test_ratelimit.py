"""The rate limit: headers, refusals, and one bucket for all workers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import LATEST, eventually


def authorize(client, **options):
    return client.signed("GET", "/auth", {"echo": "x"}, **options)


def left(answer):
    return int(answer.headers["X-RateLimit-Remaining"])


def test_each_authorized_request_counts_one(cluster):
    client = cluster.new_key(rate_limit=50)
    answers = [authorize(client) for _ in range(10)]
    assert [left(answer) for answer in answers] == list(range(49, 39, -1))
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"50"}
    assert {answer.headers["X-RateLimit-Window"] for answer in answers} == {"900"}


def test_refused_signatures_do_not_count(cluster):
    client = cluster.new_key(rate_limit=50)
    assert left(authorize(client)) == 49
    for _ in range(5):
        assert authorize(client, day="20000101").status == 401
    assert left(authorize(client)) == 48


def test_errors_of_authorized_requests_count(cluster):
    client = cluster.new_key(rate_limit=50)
    assert left(authorize(client)) == 49
    answer = client.signed("GET", "/v4/kernel/no-such-session")
    assert (answer.status, left(answer)) == (404, 48)


@pytest.mark.parametrize("version", ["v1.20160915", "v2.20170315", "v3.20170615"])
def test_versions_below_4_say_when_the_window_moves_on(cluster, version):
    answer = authorize(cluster.new_key(), version=version)
    assert 0 < int(answer.headers["X-RateLimit-Reset"]) <= 900_000


def test_version_4_does_not(cluster):
    assert "X-RateLimit-Reset" not in authorize(cluster.new_key(), version=LATEST).headers


def test_over_the_limit(cluster):
    client = cluster.new_key(rate_limit=5)
    assert [authorize(client).status for _ in range(5)] == [200] * 5
    answer = authorize(client)
    assert answer.problem == (429, "rate-limit-exceeded")
    assert answer.json["title"] == "You have reached your API query rate limit."
    assert (answer.headers["X-RateLimit-Limit"], left(answer)) == ("5", 0)
    assert 0 < int(answer.headers["Retry-After"]) <= 915  # the window is counted in whole buckets of 15 s
    # Another key has its own.
    assert authorize(cluster.new_key(rate_limit=5)).status == 200


def test_all_workers_together_never_let_one_more_in(cluster):
    client = cluster.new_key(rate_limit=200)
    with ThreadPoolExecutor(32) as pool:
        statuses = Counter(pool.map(lambda _: authorize(client).status, range(500)))
    assert statuses == {200: 200, 429: 300}


def test_a_raised_limit_is_seen(cluster):
    client = cluster.new_key(rate_limit=2)
    assert [authorize(client).status for _ in range(3)] == [200, 200, 429]
    cluster.sql(f"UPDATE keypairs SET rate_limit = 1000 WHERE access_key = '{client.access_key}'")
    eventually(lambda: all(authorize(client).status == 200 for _ in range(8)))
