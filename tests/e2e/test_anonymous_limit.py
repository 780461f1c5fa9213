"""--anonymous-limit and --trusted-proxies: who may ask unsigned, and how often."""

import pytest

from api import Client, eventually
from cluster import Cluster

LIMIT = 40


@pytest.fixture(scope="module")
def limited():
    """A cluster of one worker that believes proxies on loopback."""
    cluster = Cluster(
        BACKEND_ANONYMOUS_LIMIT=str(LIMIT), BACKEND_TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8", BACKEND_WORKERS="1"
    )
    yield cluster
    cluster.close()


def ask(cluster, forwarded, path="/v4"):
    """An unsigned request that came through proxies."""
    return Client(cluster.endpoint).plain("GET", path, headers={"X-Forwarded-For": forwarded})


def rates(answer):
    return tuple(int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Window"))


def test_an_address_over_its_limit_is_refused_and_others_are_not(limited):
    for left in reversed(range(LIMIT)):
        answer = ask(limited, "198.51.100.1")
        assert answer.status == 200 and rates(answer) == (LIMIT, left, 900), answer
    refused = ask(limited, "198.51.100.1")
    assert refused.problem == (429, "rate-limit-exceeded")
    assert rates(refused) == (LIMIT, 0, 900) and 0 < int(refused.headers["Retry-After"]) <= 915
    assert ask(limited, "198.51.100.2").status == 200
    # What stands before the last address that is no proxy's is the client's own invention.
    assert ask(limited, "198.51.100.3, 198.51.100.1, 10.0.0.9").status == 429


def test_whatever_is_not_signed_rightly_counts(limited):
    key = limited.new_key()
    stranger = Client(limited.endpoint, key.access_key, "not the secret")
    forwarded = {"X-Forwarded-For": "198.51.100.4"}
    seen = [ask(limited, "198.51.100.4", path).status for path in ("/nowhere", "/v9/x", "/v4/kernel/x", "/v4")]
    assert seen == [404, 400, 401, 200]
    assert stranger.signed("GET", "/v4/auth", {"echo": "x"}, headers=forwarded).status == 401
    assert rates(ask(limited, "198.51.100.4"))[1] == LIMIT - 6


def test_signed_requests_have_their_keys_limit(limited):
    key = limited.new_key(rate_limit=1000)
    forwarded = {"X-Forwarded-For": "198.51.100.5"}
    for _ in range(LIMIT + 5):
        answer = key.signed("GET", "/v4/auth", {"echo": "x"}, headers=forwarded)
        assert answer.status == 200, answer
    assert rates(answer) == (1000, 1000 - LIMIT - 5, 900)
    assert rates(ask(limited, "198.51.100.5"))[1] == LIMIT - 1


def test_the_log_names_the_client_and_not_the_proxy(limited):
    ask(limited, "203.0.113.77", "/v4/told-in-the-log")
    log = limited.data / "log" / "gateway.log"
    lines = eventually(lambda: [line for line in log.read_text().splitlines() if "/v4/told-in-the-log" in line])
    assert all("203.0.113.77" in line for line in lines), lines


def test_without_an_option_nobody_is_limited_or_believed(cluster):
    for _ in range(3):
        answer = ask(cluster, "203.0.113.78", "/v4/also-in-the-log")
        assert rates(answer) == (1000, 1000, 900)
    log = cluster.data / "log" / "gateway.log"
    lines = eventually(lambda: [line for line in log.read_text().splitlines() if "/v4/also-in-the-log" in line])
    assert not any("203.0.113.78" in line for line in lines), lines
