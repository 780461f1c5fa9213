"""What docs/failure-modes.md states of each dependency and route, beyond what test_stores_away.py checks.

Away means that nobody listens at its port; hanging that its processes are stopped, so that connections stay and nothing
is answered.
"""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from api import Client, Raw, eventually
from cluster import Cluster
from sign import signed_headers

UNAVAILABLE = (503, "service-unavailable")
# Seconds; half-done sessions are finished by the leader after 45.
MENDED = 150


@pytest.fixture(scope="module")
def own():
    """A cluster where keys that cannot be checked any more go on for 15 s only."""
    cluster = Cluster(BACKEND_AUTH_MAX_STALE="15")
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(own):
    """Whole before and after every test, under the same supervisor."""
    gateway = own.pid("gateway")
    yield own
    own.ready()
    eventually(lambda: own.sql("SELECT id FROM agents WHERE status = 'ALIVE'"), seconds=30)
    assert own.pid("gateway") == gateway


@pytest.fixture
def known(cluster):
    """A key that every worker knows."""
    client = cluster.new_key()
    assert statuses(client) == {200}
    yield client
    rows = cluster.sql(
        f"SELECT sess_id FROM kernels WHERE access_key = '{client.access_key}' AND status IN ('RUNNING', 'PREPARING')"
    )
    for (token,) in rows:
        client.destroy(token)


@pytest.fixture
def session(known):
    """A session of that key that every worker knows."""
    token = known.started()
    assert infos(known, token) == {200}
    return token


def authorize(client):
    return client.signed("GET", "/v4/auth", {"echo": "x"})


def statuses(client, count=32):
    """Of many requests on new connections, which reach every worker."""
    return {authorize(client).status for _ in range(count)}


def infos(client, token, count=32):
    """The same for a session's description."""
    return {client.info(token).status for _ in range(count)}


def open_route_answers(cluster):
    """The routes that need no key stand on nothing, on every worker."""
    return {Client(cluster.endpoint).plain("GET", "/v4").status for _ in range(16)} == {200}


def missing(cluster, name):
    """Returns once every worker says that it misses it."""

    def all_miss_it():
        return all(name in cluster.admin("/readyz")[1].lower() for _ in range(8))

    eventually(all_miss_it, seconds=30)
    assert cluster.admin("/livez")[0] == 200


@contextmanager
def hanging(cluster, name):
    """Stops the processes of a server for the time of a block."""
    pids = family(cluster.pid(name))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            resume(pid)


def resume(pid):
    """Lets a stopped process go on, if it is still there."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def family(pid):
    """A process and all below it, it first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


@contextmanager
def meanwhile():
    """Runs calls on threads: `start(function, *arguments)` gives a future."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def row(cluster, client, token):
    """[status, status_info] of the newest session of that name."""
    rows = cluster.sql(
        f"SELECT status, coalesce(status_info, '') FROM kernels WHERE access_key = '{client.access_key}'"
        f" AND sess_id = '{token}' ORDER BY created_at DESC LIMIT 1"
    )
    return rows[0] if rows else [None, None]


def in_state(cluster, client, token, *statuses, seconds=10):
    """Waits for a session's status to be one of these."""
    eventually(lambda: row(cluster, client, token)[0] in statuses, seconds)


def nothing_is_held(cluster, client):
    """Whether the key's quota and all agents' slots are what their live sessions sum up to."""
    used, live = cluster.sql(
        "SELECT concurrency_used, (SELECT count(*) FROM kernels k WHERE k.access_key = p.access_key"
        f" AND status NOT IN ('TERMINATED', 'ERROR')) FROM keypairs p WHERE access_key = '{client.access_key}'"
    )[0]
    wrong = cluster.sql(
        "SELECT a.id FROM agents a WHERE a.used_mem_slots <> (SELECT coalesce(sum(mem_slot), 0) FROM kernels k"
        " WHERE k.agent = a.id AND k.status NOT IN ('TERMINATED', 'ERROR'))"
    )
    assert used == live and not wrong, (used, live, wrong)
    return live == "0"


def agent_detail(answer, status, slug):
    """The kind of fault in a problem that an agent caused."""
    assert answer.problem == (status, slug), answer
    return answer.json["agent-details"]["type"].rpartition("/")[2]


def works(client):
    """A session from beginning to end."""
    token = client.started()
    assert client.run(token, "print(6 * 7)")[1] == [["stdout", "42\n"]]
    assert client.destroy(token).status == 200


# PostgreSQL


def test_postgresql_away_and_each_route(cluster, known, session):
    with cluster.without("postgres"):
        missing(cluster, "postgresql")
        prefix = f"/v4/kernel/{session}"
        assert infos(known, session) == {200}
        assert known.signed("POST", f"{prefix}/complete", {"code": "pri", "options": {}}).status == 200
        assert known.signed("GET", f"{prefix}/logs").status == 200
        assert known.signed("GET", f"{prefix}/files").status == 200
        assert known.signed("POST", f"{prefix}/interrupt").status == 204
        assert known.signed("PATCH", prefix).problem == UNAVAILABLE
        assert known.destroy(session).problem == UNAVAILABLE
        assert known.create().problem == UNAVAILABLE
        assert known.signed("GET", "/v4/folders/").problem == UNAVAILABLE
        # Whether there is such a session cannot be known.
        assert known.info("never-heard-of").problem == UNAVAILABLE
        assert known.create().headers["Retry-After"] == "1"
        assert open_route_answers(cluster)
    cluster.ready()
    assert known.run(session, "print('on')")[1] == [["stdout", "on\n"]]
    assert known.destroy(session).status == 200
    works(known)


def test_keys_are_believed_for_a_limited_time_without_postgresql(cluster, known):
    with cluster.without("postgres"):
        missing(cluster, "postgresql")
        assert authorize(known).status == 200
        eventually(lambda: statuses(known, 8) == {503}, seconds=60)
        assert authorize(known).problem == UNAVAILABLE
        assert open_route_answers(cluster)
    cluster.ready()
    assert statuses(known) == {200}


def test_postgresql_hanging(cluster, known, session):
    unknown = cluster.new_key()
    with hanging(cluster, "postgres"), meanwhile() as start:
        # Asked before anybody has noticed, and after.
        first = start(authorize, unknown)
        assert statuses(known) == {200}
        assert infos(known, session) == {200}
        assert first.result().problem == UNAVAILABLE
        missing(cluster, "postgresql")
        assert known.create().problem == UNAVAILABLE
        assert open_route_answers(cluster)
    cluster.ready()
    assert statuses(unknown) == {200}
    works(known)


def test_postgresql_goes_away_while_sessions_are_made_and_ended(cluster, known):
    ending = known.started()
    with meanwhile() as start:
        with hanging(cluster, "agent"):
            made = start(known.create, "half-made")
            ended = start(known.destroy, ending)
            in_state(cluster, known, "half-made", "PREPARING")
            in_state(cluster, known, ending, "TERMINATING")
            cluster.dev("stop", "postgres")
        try:
            assert made.result().problem == UNAVAILABLE
            assert ended.result().problem == UNAVAILABLE
        finally:
            cluster.dev("start", "postgres")
    cluster.ready()
    assert known.info(ending).problem == (404, "kernel-not-found")
    eventually(lambda: row(cluster, known, "half-made") == ["ERROR", "creation-abandoned"], MENDED)
    in_state(cluster, known, ending, "TERMINATED", seconds=MENDED)
    assert nothing_is_held(cluster, known)
    works(known)


# Redis


def counted(cluster, client, token):
    """The queries of a session, once PostgreSQL knows of all of them too."""
    count = client.info(token).json["numQueriesExecuted"]
    in_the_row = f"SELECT num_queries FROM kernels WHERE sess_id = '{token}'"
    eventually(lambda: cluster.sql(in_the_row) == [[str(count)]])
    return count


def test_redis_away_and_each_route(cluster, known, session):
    count = counted(cluster, known, session)
    unseen = cluster.new_key()
    with cluster.without("redis"):
        missing(cluster, "redis")
        described = known.info(session)
        assert described.status == 200 and described.json["numQueriesExecuted"] == count + 1
        assert (described.json["memoryUsed"], described.json["cpuCreditUsed"]) == (0, 0)
        assert known.run(session, "print('on')")[1] == [["stdout", "on\n"]]
        works(known)
        # What such a key has left cannot be known.
        assert authorize(unseen).problem == UNAVAILABLE
        assert open_route_answers(cluster)
    cluster.ready()
    eventually(lambda: statuses(unseen, 8) == {200}, seconds=30)
    after = known.info(session).json["numQueriesExecuted"]
    assert [known.info(session).json["numQueriesExecuted"] for _ in range(8)] == list(range(after + 1, after + 9))
    # The description, the run's calls (one at least), this one.
    assert after >= count + 3
    works(known)


def test_queries_without_redis_are_counted_exactly(cluster, known, session):
    count = known.info(session).json["numQueriesExecuted"]
    with cluster.without("redis"):
        missing(cluster, "redis")
        assert infos(known, session, 10) == {200}
    cluster.ready()
    assert known.info(session).json["numQueriesExecuted"] == count + 11
    eventually(
        lambda: cluster.sql(f"SELECT num_queries FROM kernels WHERE sess_id = '{session}'") == [[str(count + 11)]],
        seconds=30,
    )


def test_a_session_that_ended_while_redis_was_away_is_gone_for_every_worker(cluster, known, session):
    with cluster.without("redis"):
        missing(cluster, "redis")
        assert known.destroy(session).status == 200
        assert infos(known, session) == {404}
    cluster.ready()
    assert infos(known, session) == {404}


def test_redis_hanging(cluster, known, session):
    with hanging(cluster, "redis"):
        assert statuses(known) == {200}
        assert infos(known, session) == {200}
        missing(cluster, "redis")
        assert statuses(known) == {200}
        assert open_route_answers(cluster)
    cluster.ready()
    works(known)


def test_redis_comes_back_empty(cluster, known, session):
    count = counted(cluster, known, session)
    with cluster.without("redis"):
        for entry in (cluster.data / "redis").iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    cluster.ready()
    eventually(lambda: statuses(known, 8) == {200}, seconds=30)
    assert known.info(session).json["numQueriesExecuted"] == count + 1
    assert known.run(session, "print('on')")[1] == [["stdout", "on\n"]]
    # Nobody calls an agent lost because its last sign of life was lost.
    assert cluster.sql("SELECT DISTINCT status FROM agents WHERE status = 'LOST'") == []
    works(known)


def test_the_limit_holds_when_redis_comes_back_empty(cluster):
    client = cluster.new_key(rate_limit=100)
    assert [authorize(client).status for _ in range(90)] == [200] * 90
    # Each worker has asked what the other has admitted, which it does every second.
    asked = cluster.metric("backendai_rate_round_trips_total")
    eventually(lambda: all(now >= asked[it] + 2 for it, now in cluster.metric("backendai_rate_round_trips_total").items()))
    with cluster.without("redis"):
        for entry in (cluster.data / "redis").iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    cluster.ready()
    assert sum(authorize(client).status == 200 for _ in range(60)) <= 10


# etcd


def test_etcd_hanging(cluster, known, session):
    with hanging(cluster, "etcd"):
        assert infos(known, session) == {200}
        missing(cluster, "etcd")
        works(known)
        assert open_route_answers(cluster)
    cluster.ready()
    works(known)


# Workers that start while something is away


@pytest.mark.parametrize("store", ["postgres", "redis", "etcd"])
def test_a_worker_starts_without_a_store(cluster, known, store):
    """What can be answered without is; the rest is refused for a while, and comes back by itself."""
    with cluster.without(store):
        missing(cluster, {"postgres": "postgresql"}.get(store, store))
        before = cluster.worker_pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(cluster.worker_pids()) == 2 and not set(cluster.worker_pids()) & set(before), seconds=30)
        eventually(lambda: {worker["state"] for worker in cluster.workers()} == {"ready"}, seconds=30)
        assert open_route_answers(cluster)
        if store == "etcd":
            assert statuses(known) == {200}
        else:
            assert statuses(known) == {503}
        # Whatever it is that the worker cannot know, nobody is told that there is no such image.
        assert {known.create().problem for _ in range(8)} == {UNAVAILABLE}
    cluster.ready()
    eventually(lambda: statuses(known) == {200}, seconds=30)
    works(known)


# Agents


def test_an_agent_that_ends_orderly(cluster, known, session):
    with cluster.without("agent"):
        in_state(cluster, known, session, "TERMINATED")
        assert infos(known, session) == {404}
        eventually(lambda: known.create().problem == (503, "instance-not-available"))
        assert nothing_is_held(cluster, known)
    eventually(lambda: known.create("again-there").status == 201, seconds=30)


def test_an_agent_that_was_killed(cluster, known, session):
    other = known.started()
    os.kill(cluster.pid("agent"), signal.SIGKILL)
    try:
        assert infos(known, session) == {200}
        assert agent_detail(known.execute(session, "1"), 500, "kernel-execution-failed") == "agent-failure"
        eventually(lambda: known.create().problem == (503, "instance-not-available"), seconds=60)
        assert known.destroy(session).json == {"stats": None}
        assert known.info(session).problem == (404, "kernel-not-found")
    finally:
        cluster.dev("start", "agent")
    # Its kernels ended with it, which the new one says, or does not name them: the rows follow.
    in_state(cluster, known, other, "TERMINATED", "ERROR", seconds=60)
    assert infos(known, other) == {404}
    assert nothing_is_held(cluster, known)
    eventually(lambda: known.create("again-there").status == 201, seconds=30)


def test_an_agent_that_is_killed_during_calls(cluster, known, session):
    with meanwhile() as start:
        running = start(known.execute, session, "import time; time.sleep(60)")
        eventually(lambda: cluster.sql(f"SELECT 1 FROM kernels WHERE sess_id = '{session}' AND status = 'RUNNING'"))
        with hanging(cluster, "agent"):
            made = start(known.create, "half-made")
            in_state(cluster, known, "half-made", "PREPARING")
            os.kill(cluster.pid("agent"), signal.SIGKILL)
        try:
            assert agent_detail(made.result(), 500, "kernel-creation-failed") == "agent-failure"
            first = running.result()
            # It may have answered `continued` before it was stopped.
            if first.status != 200:
                assert agent_detail(first, 500, "kernel-execution-failed") == "agent-failure"
        finally:
            cluster.dev("start", "agent")
    assert row(cluster, known, "half-made")[0] == "ERROR"
    in_state(cluster, known, session, "TERMINATED", "ERROR", seconds=60)
    assert nothing_is_held(cluster, known)


def test_an_agent_that_hangs(cluster, known, session):
    doomed = known.started()
    with meanwhile() as start:
        with hanging(cluster, "agent"):
            running = start(known.run, session, "print('at last')")
            made = start(known.create, "half-made")
            in_state(cluster, known, "half-made", "PREPARING")
            # Nobody else waits for it.
            assert statuses(known) == {200}
            assert infos(known, session) == {200}
            assert known.destroy(doomed).json == {"stats": None}
            eventually(lambda: known.create("too-late").problem == (503, "instance-not-available"), seconds=30)
            # A worker that has no connection to it yet gets none: that is a failure.
            assert agent_detail(made.result(), 500, "kernel-creation-failed") in ("agent-timeout", "agent-failure")
            assert row(cluster, known, "half-made")[0] == "ERROR"
            assert not running.done()
        assert running.result()[1] == [["stdout", "at last\n"]]
    eventually(lambda: cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE'"), seconds=30)
    # What it did late is undone: only the one session's kernel is left.
    ids = cluster.sql(f"SELECT id FROM kernels WHERE access_key = '{known.access_key}' AND status = 'RUNNING'")
    eventually(lambda: kernels(cluster) == sorted(id for (id,) in ids), seconds=60)
    assert known.destroy(session).status == 200
    assert nothing_is_held(cluster, known)


def kernels(cluster):
    """Ids of the kernels that the agent has folders for."""
    folder = cluster.data / "scratch"
    found = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted(name for name in found if len(name) == 36 and name.count("-") == 4)


# Clients


def test_a_client_that_goes_away_leaves_nothing_half_done(cluster, known):
    target, body = "/v4/kernel/create", b'{"lang": "python", "clientSessionToken": "left-alone"}'
    headers = signed_headers("POST", target, known.host, known.access_key, known.secret_key, body=body)
    headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with hanging(cluster, "agent"):
        with Raw(known.host) as raw:
            raw.send(f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            in_state(cluster, known, "left-alone", "PREPARING")
    in_state(cluster, known, "left-alone", "RUNNING", seconds=30)
    again = known.create("left-alone")
    assert again.json == {"kernelId": "left-alone", "created": False}
    assert known.destroy("left-alone").status == 200
    assert nothing_is_held(cluster, known)
