"""Agents that fail: every way of failing is a problem of its own kind, with `agent-details`, and costs nobody else."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from api import eventually
from old_agents import OldAgent
from upload import upload

AGENT = "https://api.backend.ai/probs/agent-"


@pytest.fixture(scope="module")
def agent(own_cluster):
    """An agent that fails as told, the only one of its cluster."""
    own_cluster.dev("stop", "agent")
    eventually(lambda: own_cluster.sql("SELECT 1 FROM agents WHERE status = 'ALIVE'") == [])
    agent = OldAgent(own_cluster, "1.4.0")
    yield agent
    agent.end()


@pytest.fixture
def client(agent):
    yield agent.cluster.new_key()
    agent.fail()


@pytest.fixture
def token(agent, client):
    token = client.started()
    yield token
    agent.fail()
    client.destroy(token)


def call(client, token, method):
    """The request that makes the gateway call this method."""
    path = f"/v4/kernel/{token}"
    if method == "upload_file":
        return upload(client, f"{path}/upload", ("a", b"x"))
    if method == "download_file":
        assert upload(client, f"{path}/upload", ("a", b"x")).status == 204
    requests = {
        "execute": ("POST", path, {"mode": "query", "runId": None, "code": "1"}),
        "restart_kernel": ("PATCH", path, None),
        "destroy_kernel": ("DELETE", path, None),
        "interrupt_kernel": ("POST", f"{path}/interrupt", None),
        "get_completions": ("POST", f"{path}/complete", {"code": "x"}),
        "get_logs": ("GET", f"{path}/logs", None),
        "download_file": ("GET", f"{path}/download?files=a", None),
        "list_files": ("GET", f"{path}/files", None),
        "create_kernel": ("POST", "/v4/kernel/create", {"lang": "python", "clientSessionToken": f"{token}-new"}),
    }
    return client.signed(*requests[method])


METHODS = ["execute", "restart_kernel", "destroy_kernel", "interrupt_kernel", "get_completions", "get_logs"]
METHODS += ["upload_file", "download_file", "list_files", "create_kernel"]
SLUGS = {
    "create_kernel": "kernel-creation-failed",
    "restart_kernel": "kernel-restart-failed",
    "destroy_kernel": "kernel-destruction-failed",
}


def details(answer, method):
    """`agent-details` of the problem that a method's failure is."""
    assert answer.problem == (500, SLUGS.get(method, "kernel-execution-failed")), answer
    return answer.json["agent-details"]


@pytest.mark.parametrize("method", METHODS)
def test_an_exception(agent, client, token, method):
    agent.fail(**{method: "exception"})
    found = details(call(client, token, method), method)
    assert (found["type"], found["exception"]) == (AGENT + "failure", "RuntimeError('boom', 1)")
    assert found["title"]


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_that_is_no_msgpack(agent, client, token, method):
    agent.fail(**{method: "malformed"})
    assert details(call(client, token, method), method)["type"] == AGENT + "invalid-input"


@pytest.mark.parametrize(
    "method", ["execute", "restart_kernel", "get_logs", "download_file", "list_files", "create_kernel"]
)
def test_an_answer_that_makes_no_sense(agent, client, token, method):
    agent.fail(**{method: "nonsense"})
    assert details(call(client, token, method), method)["type"] == AGENT + "invalid-input"


@pytest.mark.parametrize("method", METHODS)
def test_a_connection_that_is_lost(agent, client, token, method):
    agent.fail(**{method: "close"})
    found = details(call(client, token, method), method)
    assert found["type"] == AGENT + "failure" and "ConnectionError" in found["exception"]
    # The next call finds a new connection.
    agent.fail()
    if method not in ("destroy_kernel", "restart_kernel"):
        assert client.run(token, "print('on')")[1] == [["stdout", "on\n"]]


# The others may take 180 s (upload_file) and 300 s (execute), by the same clock.
LIMITED = ["interrupt_kernel", "get_logs", "get_completions", "destroy_kernel"]
LIMITED += ["create_kernel", "restart_kernel", "download_file", "list_files"]


def test_no_answer_in_time(agent, client):
    """All at once: the limits are 5 to 30 s."""
    tokens = {method: client.started() for method in LIMITED}
    agent.fail(**dict.fromkeys(LIMITED, "hang"))
    with ThreadPoolExecutor(len(LIMITED)) as pool:
        answers = dict(zip(LIMITED, pool.map(lambda method: call(client, tokens[method], method), LIMITED)))
    assert {details(answer, method)["type"] for method, answer in answers.items()} == {AGENT + "timeout"}
    agent.fail()
    # Those whose end or restart nobody knows can be ended, and what was made in vain is.
    for token in tokens.values():
        assert client.destroy(token).status == 200
    used = f"SELECT concurrency_used FROM keypairs WHERE access_key = '{client.access_key}'"
    assert agent.cluster.sql(used) == [["0"]]


def test_an_agent_that_hangs_holds_up_nobody_else(agent, client, token):
    agent.fail(interrupt_kernel="hang")
    assert details(call(client, token, "interrupt_kernel"), "interrupt_kernel")["type"] == AGENT + "timeout"
    assert client.run(token, "print('on')")[1] == [["stdout", "on\n"]]


FAULTS = {"exception": "failure", "close": "failure", "malformed": "invalid-input", "nonsense": "invalid-input"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_creation_that_fails_gives_everything_back(agent, client, fault):
    agent.fail(create_kernel=fault)
    answer = client.create()
    assert answer.problem == (500, "kernel-creation-failed")
    assert answer.json["agent-details"]["type"] == AGENT + FAULTS[fault]
    used = f"SELECT concurrency_used FROM keypairs WHERE access_key = '{client.access_key}'"
    assert agent.cluster.sql(used) == [["0"]]
    agent.fail()
    assert client.destroy(client.started()).status == 200


def test_a_session_whose_end_failed_runs_on(agent, client, token):
    client.run(token, "x = 'kept'")
    agent.fail(destroy_kernel="exception")
    details(call(client, token, "destroy_kernel"), "destroy_kernel")
    agent.fail()
    assert client.run(token, "print(x)")[1] == [["stdout", "kept\n"]]


def test_a_restart_that_failed_is_made_up_for(agent, client, token):
    agent.fail(restart_kernel="exception")
    details(call(client, token, "restart_kernel"), "restart_kernel")
    agent.fail()
    assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204
    assert client.run(token, "print('again')")[1] == [["stdout", "again\n"]]


def test_an_agent_that_is_gone(agent, client):
    other = OldAgent(agent.cluster, "1.0.6")  # as free as the other one, and before it by its id
    token = client.started()
    where = f"SELECT agent FROM kernels WHERE sess_id = '{token}'"
    assert agent.cluster.sql(where) == [[other.id]]
    other.process.kill()
    other.process.wait()
    found = details(call(client, token, "execute"), "execute")
    assert found["type"] == AGENT + "failure" and "ConnectionError" in found["exception"]
    eventually(lambda: other.status() == "LOST", seconds=30)
    # Nothing of it runs where anybody could reach it: its session can be ended, and counts no more.
    assert client.destroy(token).json == {"stats": None}
    assert client.destroy(client.started()).status == 200
