"""Workers: all of them serve, any may die, and all can be replaced without a broken request."""

import contextlib
import os
import re
import signal
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from api import A_SECOND, Client, eventually
from cluster import ROOT
from load import Load
from old_agents import python
from sign import signed_headers


def request(client, *, close):
    """The bytes of a signed request, good for a quarter of an hour."""
    body = b'{"echo": "load"}'
    headers = signed_headers("GET", "/v4/auth", client.host, client.access_key, client.secret_key, body=body)
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close" if close else "keep-alive"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET /v4/auth HTTP/1.1\r\n{lines}\r\n".encode() + body


def load(client, connections, *, keep_alive):
    return Load(client.host, request(client, close=not keep_alive), connections=connections, keep_alive=keep_alive)


def answered_by(cluster):
    """Requests answered, by slot."""
    totals = {}
    for labels, value in cluster.metric("backendai_requests_total").items():
        slot = re.search(r'worker="(\d+)"', labels)[1]
        totals[slot] = totals.get(slot, 0) + value
    return totals


def unlimited(cluster):
    return cluster.new_key(rate_limit=100_000_000)


def test_connections_reach_every_worker(cluster):
    before = answered_by(cluster)
    for _ in range(64):
        Client(cluster.endpoint).plain("GET", "/v4")
    after = answered_by(cluster)
    assert len(after) == len(cluster.worker_pids()) == 2
    assert all(after[slot] > before.get(slot, 0) for slot in after), (before, after)
    assert sum(after.values()) - sum(before.values()) == 64


def test_workers_are_listed(cluster):
    listed = cluster.workers()
    assert sorted(worker["pid"] for worker in listed) == cluster.worker_pids()
    assert {worker["state"] for worker in listed} == {"ready"}
    assert sorted(worker["slot"] for worker in listed) == [0, 1]


def test_health(cluster):
    assert cluster.admin("/livez")[0] == 200
    assert cluster.admin("/readyz")[0] == 200
    assert cluster.admin("/nope")[0] == 404


def test_the_operators_routes_are_read_only(cluster):
    answer = cluster.operators().plain("POST", "/metrics")
    assert (answer.problem, answer.headers["Allow"]) == ((405, "method-not-allowed"), "GET, HEAD")


def test_a_session_made_through_one_is_used_through_the_others_at_once(cluster, client):
    for _ in range(4):
        token = client.started()
        before = answered_by(cluster)
        assert {client.execute(token, "print(7)").status for _ in range(8)} == {200}
        assert {client.info(token).status for _ in range(24)} == {200}
        after = answered_by(cluster)
        assert all(after[slot] > before[slot] for slot in after), (before, after)
        client.destroy(token)


def ready_but(cluster, victim):
    """Whether every slot's worker is ready, and none of them is the victim."""
    try:
        workers = cluster.workers()
    except OSError:  # the victim had taken this very connection
        return False
    return victim not in [worker["pid"] for worker in workers] and {worker["state"] for worker in workers} == {"ready"}


def test_a_killed_worker_is_replaced_and_the_others_never_stop(cluster):
    client = unlimited(cluster)
    for slot in (0, 1):
        connections = 16
        with load(client, connections, keep_alive=False) as running:
            eventually(lambda: running.answered > 200)
            victim = next(worker["pid"] for worker in cluster.workers() if worker["slot"] == slot)
            os.kill(victim, signal.SIGKILL)
            at_death = running.answered
            # Its slot has another that serves within a second.
            eventually(lambda: ready_but(cluster, victim), seconds=A_SECOND)
            eventually(lambda: running.answered > at_death + 200)
            replaced = len(running.failures)
            before = answered_by(cluster)
            eventually(lambda: all(answered_by(cluster)[one] > before[one] + 50 for one in before))
        # Only those that the dead worker held can have failed, and none after it was replaced.
        assert replaced <= connections and len(running.failures) == replaced, running.failures


def test_keys_and_sessions_survive_every_worker(cluster, client, session):
    client.run(session, "x = 'still here'")
    old = set(cluster.worker_pids())
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not old & set(cluster.worker_pids()) and len(cluster.worker_pids()) == 2)
    cluster.ready()
    assert client.run(session, "print(x)")[1] == [["stdout", "still here\n"]]
    assert client.info(session).json["numQueriesExecuted"] == 3


def test_replacing_all_workers_ten_times_breaks_no_request(cluster):
    client = unlimited(cluster)
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(load(client, 32, keep_alive=kept)) for kept in (True, False)]
        for _ in range(10):
            old = set(cluster.worker_pids())
            reached = [running.answered for running in loads]
            os.kill(cluster.pid("gateway"), signal.SIGHUP)
            eventually(lambda: len(cluster.worker_pids()) == 2 and not old & set(cluster.worker_pids()), seconds=60)
            eventually(lambda: all(now.answered > then + 50 for now, then in zip(loads, reached, strict=True)))
    assert [running.failures for running in loads] == [[], []]


def test_a_long_request_outlives_the_replacement(cluster, client, session):
    """A worker that is told to end finishes what it has begun."""
    old = set(cluster.worker_pids())
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(client.run, session, "import time; time.sleep(1.5); print('whole')")
        os.kill(cluster.pid("gateway"), signal.SIGHUP)
        assert run.result(timeout=60)[1] == [["stdout", "whole\n"]]
    eventually(lambda: len(cluster.worker_pids()) == 2 and not old & set(cluster.worker_pids()), seconds=60)


@contextlib.contextmanager
def kernels_of_an_agent(cluster, count):
    """So many kernels of an agent that is no more than its rows: their ids."""
    agent, ids = "i-numbered", [str(uuid.uuid4()) for _ in range(count)]
    addr = "tcp://127.0.0.1:1"
    cluster.sql(
        "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots,"
        f" used_gpu_slots, addr) VALUES ('{agent}', 'TERMINATED', 'local', 0, 0, 0, 0, 0, 0, '{addr}')"
    )
    cluster.sql(
        "INSERT INTO kernels (id, sess_id, agent, agent_addr, mem_slot, cpu_slot, gpu_slot, repl_in_port,"
        f" repl_out_port, stdin_port, stdout_port, status) SELECT id::uuid, id, '{agent}', '{addr}', 0, 0, 0, 0, 0, 0,"
        f" 0, 'RUNNING' FROM unnest(string_to_array('{','.join(ids)}', ',')) AS id"
    )
    try:
        yield agent, ids
    finally:
        cluster.sql(f"DELETE FROM kernels WHERE agent = '{agent}'")
        cluster.sql(f"DELETE FROM agents WHERE id = '{agent}'")


def test_replacing_all_workers_loses_no_event(cluster):
    """A libzmq peer goes on pushing while its worker drains: what it wrote is read to the end."""
    addr = f"tcp://127.0.0.1:{cluster.settings['BACKEND_EVENTS_PORT']}"
    with kernels_of_an_agent(cluster, 3000) as (agent, ids):
        command = [python(), str(ROOT / "tests/peers/zmtp_peer.py"), "stream", addr, agent]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        left = iter(ids)

        def push(count):
            for kernel in (next(left, None) for _ in range(count)):
                if kernel:
                    print(kernel, file=peer.stdin, flush=True)

        for _ in range(6):
            old = set(cluster.worker_pids())
            os.kill(cluster.pid("gateway"), signal.SIGHUP)
            while old & set(cluster.worker_pids()):
                push(2)
                time.sleep(0.01)  # the pace of the events, not a wait for anything
        push(len(ids))
        said, _ = peer.communicate(timeout=60)
        assert said == f"sent {len(ids)}\n"
        unheard = f"SELECT count(*) FROM kernels WHERE agent = '{agent}' AND status = 'RUNNING'"
        eventually(lambda: cluster.sql(unheard) == [["0"]], seconds=30)
        heard = f"SELECT DISTINCT status, status_info FROM kernels WHERE agent = '{agent}'"
        assert cluster.sql(heard) == [["TERMINATED", "numbered"]]


def test_events_of_unknown_kernels_are_counted_and_said_once(cluster):
    """Each worker says it at most once a minute, with how many there were."""

    def strays():
        return sum(cluster.metric("backendai_events_total", result="unknown-kernel").values())

    def said():
        log = (cluster.data / "log" / "gateway.log").read_text()
        return log.count("an event of an unknown kernel was ignored")

    counted, told = strays(), said()
    addr = f"tcp://127.0.0.1:{cluster.settings['BACKEND_EVENTS_PORT']}"
    command = [python(), str(ROOT / "tests/peers/zmtp_peer.py"), "stream", addr, "i-stray"]
    kernels = "".join(f"{kernel}\n" for kernel in [*(uuid.uuid4() for _ in range(99)), "no-uuid"])
    subprocess.run(command, input=kernels, text=True, check=True, timeout=60, capture_output=True)
    eventually(lambda: strays() == counted + 100)
    assert said() - told <= 1
    assert said() > 0
