"""PostgreSQL, Redis and etcd going away and coming back: no process ends, nothing needs a restart."""

import pytest

from api import Client, eventually


@pytest.fixture
def cluster(own_cluster):
    """A cluster of this module's own; every test leaves it whole, with the processes it had."""
    gateway, workers, agent = own_cluster.pid("gateway"), own_cluster.worker_pids(), own_cluster.pid("agent")
    yield own_cluster
    own_cluster.ready()
    assert (own_cluster.pid("gateway"), own_cluster.worker_pids(), own_cluster.pid("agent")) == (gateway, workers, agent)


def authorize(client):
    return client.signed("GET", "/v4/auth", {"echo": "x"})


def statuses(client, count=32):
    """Of many requests on new connections, which reach every worker."""
    return {authorize(client).status for _ in range(count)}


@pytest.fixture
def known(cluster):
    """A key that every worker has in its cache."""
    client = cluster.new_key()
    assert statuses(client) == {200}
    return client


def missing(cluster):
    """What /readyz says, once it is not ready."""
    status, text = eventually(lambda: (found := cluster.admin("/readyz"))[0] == 503 and found)
    assert cluster.admin("/livez")[0] == 200
    return text.lower()


def works(client):
    """A session from beginning to end."""
    token = client.started()
    client.run(token, "x = 6")
    assert client.run(token, "print(x * 7)")[1] == [["stdout", "42\n"]]
    assert client.destroy(token).status == 200


def test_redis_away(cluster, known):
    with cluster.without("redis"):
        assert "redis" in missing(cluster)
        assert statuses(known) == {200}
        assert Client(cluster.endpoint).plain("GET", "/v4").status == 200
    cluster.ready()
    assert statuses(known) == {200}
    works(known)


def test_the_limit_holds_while_redis_is_away(cluster):
    client = cluster.new_key(rate_limit=100)
    assert [authorize(client).status for _ in range(40)] == [200] * 40
    asked = cluster.metric("backendai_rate_round_trips_total")
    # Every worker asks once more, by itself: its share is of what was left after what the others admitted.
    eventually(lambda: all(now >= asked[worker] + 2 for worker, now in cluster.metric("backendai_rate_round_trips_total").items()))
    with cluster.without("redis"):
        missing(cluster)
        seen = [authorize(client).status for _ in range(120)]
        assert set(seen) == {200, 429} and seen.count(200) <= 60, seen
    cluster.ready()
    assert sum(authorize(client).status == 200 for _ in range(120)) <= 60 - seen.count(200)


def test_the_limit_holds_after_workers_were_added_and_redis_went_away(cluster):
    """The first workers were started when there were two; a share is that of four from when there are four."""

    def resize(count):
        done = cluster.program("backendai-gateway", "resize", str(count))
        assert done.returncode == 0, done
        eventually(lambda: [worker["state"] for worker in cluster.workers()] == ["ready"] * count)
        eventually(lambda: f'"workers":{count}' in "".join(cluster.etcd("get", "nodes/gateways/", "--prefix")))

    client = cluster.new_key(rate_limit=100)
    resize(4)
    try:
        eventually(lambda: all(value for value in cluster.metric("backendai_store_up", store="redis").values()))
        assert statuses(client, 60) == {200}
        asked = cluster.metric("backendai_rate_round_trips_total")
        assert len(asked) == 4
        eventually(
            lambda: all(
                now >= asked[worker] + 2 for worker, now in cluster.metric("backendai_rate_round_trips_total").items()
            )
        )
        with cluster.without("redis"):
            missing(cluster)
            seen = [authorize(client).status for _ in range(200)]
            assert set(seen) == {200, 429} and seen.count(200) <= 40, seen.count(200)
        cluster.ready()
    finally:
        resize(2)


def test_postgresql_away(cluster, known):
    token = known.started()
    known.run(token, "x = 'kept'")
    assert {known.signed("GET", f"/v4/kernel/{token}").status for _ in range(32)} == {200}  # every worker knows it
    unknown = cluster.new_key()
    with cluster.without("postgres"):
        assert "postgresql" in missing(cluster)
        assert statuses(known) == {200}
        assert known.run(token, "print(x)")[1] == [["stdout", "kept\n"]]
        assert authorize(unknown).problem == (503, "service-unavailable")
        assert known.create().problem == (503, "service-unavailable")
    cluster.ready()
    eventually(lambda: statuses(unknown) == {200})
    assert known.run(token, "print(x)")[1] == [["stdout", "kept\n"]]
    assert known.destroy(token).status == 200
    works(known)


def test_a_key_that_changed_while_postgresql_was_away(cluster, known):
    """A notice that was missed must not leave an old key in a cache."""
    for pid in cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    ):
        assert pid == ["t"]
    cluster.sql(f"UPDATE keypairs SET is_active = false WHERE access_key = '{known.access_key}'")
    eventually(lambda: statuses(known) == {401}, seconds=30)
    cluster.ready()


def test_etcd_away(cluster, known):
    token = known.started()
    with cluster.without("etcd"):
        assert "etcd" in missing(cluster)
        assert statuses(known) == {200}
        assert known.run(token, "print('on')")[1] == [["stdout", "on\n"]]
        works(known)
    cluster.ready()
    assert known.destroy(token).status == 200
    # Changes are seen again.
    cluster.etcd("put", "images/_aliases/after-the-break", ":".join(cluster.image("python")))
    found = eventually(lambda: (answer := known.create(lang="after-the-break")).status == 201 and answer, seconds=30)
    assert known.destroy(found.json["kernelId"]).status == 200


def test_all_three_away_at_once(cluster, known):
    with cluster.without("redis"), cluster.without("etcd"), cluster.without("postgres"):
        said = missing(cluster)
        eventually(lambda: all(name in cluster.admin("/readyz")[1].lower() for name in ("redis", "etcd", "postgresql")))
        assert said
        assert statuses(known) == {200}
    cluster.ready()
    eventually(lambda: statuses(known) == {200})
    works(known)
