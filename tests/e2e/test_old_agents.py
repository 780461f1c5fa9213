"""Agents of releases 1.0.6 and 1.3.7 under this gateway: what they do wrong, users do not see."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import Client, eventually, text_of
from old_agents import OldAgent
from upload import upload


@pytest.fixture(scope="module")
def emptied(own_cluster):
    """A cluster without an agent of its own."""
    own_cluster.dev("stop", "agent")
    eventually(lambda: own_cluster.sql("SELECT 1 FROM agents WHERE status = 'ALIVE'") == [])
    return own_cluster


@pytest.fixture(scope="module", params=["1.0.6", "1.3.7"])
def old(request, emptied):
    """The only agent of the cluster."""
    agent = OldAgent(emptied, request.param)
    yield agent
    agent.end()


@pytest.fixture
def client(old):
    """A new key."""
    return old.cluster.new_key()


@pytest.fixture
def token(client):
    """A session of that key; ended afterwards, so that the agent has room for others."""
    token = client.started()
    yield token
    client.destroy(token)


def kernel_of(old, client, token, columns="id"):
    rows = old.cluster.sql(
        f"SELECT {columns} FROM kernels WHERE sess_id = '{token}' AND access_key = '{client.access_key}'"
    )
    return rows[0]


def test_an_agent_that_ends_takes_no_more_sessions(emptied):
    """The first test of all: those below share an agent that is there until the last of them."""
    agent = OldAgent(emptied, "1.0.6")
    client = emptied.new_key()
    token = client.started()
    assert client.destroy(token).status == 200
    agent.end()
    assert client.create().problem == (503, "instance-not-available")


def test_a_session_from_beginning_to_end(old, client):
    token = client.started(config={"environ": {"FOO": "bar"}})
    assert kernel_of(old, client, token, "status, agent, cpu_set") == ["RUNNING", old.id, "{1}"]
    client.run(token, "x = 40")
    assert client.run(token, "import os; print(x + 2, os.environ['FOO'])")[1] == [["stdout", "42 bar\n"]]
    answer = client.destroy(token)
    assert answer.status == 200 and answer.json["stats"]["mem_max_bytes"] == 63774720, answer
    assert client.info(token).problem == (404, "kernel-not-found")
    # The statistics are those of the answer, although the agent tells of the kernel's end before, without any.
    ended = kernel_of(old, client, token, "status, status_info, mem_max_bytes")
    assert ended == ["TERMINATED", "user-requested", "63774720"]


@pytest.mark.parametrize("version", ["v1.20160915", "v2.20170315", "v3.20170615", "v4.20181215"])
def test_every_version_of_the_api(old, client, token, version):
    """The agent is told version 2, whatever the client speaks: others break its kernels."""
    speaker = client.as_version(version)
    result = speaker.execute(token, "import sys; print('out'); print('err', file=sys.stderr)").json["result"]
    assert result["status"] == "finished", result
    if version.startswith("v1"):
        assert (result["stdout"], result["stderr"], result["media"], result["html"]) == ("out\n", "err\n", [], [])
    else:
        assert result["console"] == [["stdout", "out\n"], ["stderr", "err\n"]]
    assert {call["args"][0] for call in old.calls("execute")} == {2}


def test_a_long_run_and_input(client, token):
    results, console = client.run(token, "import time\nfor n in range(3):\n    print(n); time.sleep(1.2)")
    assert results[0]["status"] == "continued" and text_of(console) == "0\n1\n2\n"
    results, console = client.run(token, "print('hi', input('name? '))", inputs=["Lee"])
    assert [result["status"] for result in results] == ["waiting-input", "finished"]
    assert text_of(console) == "name? hi Lee\n"
    results, console = client.run(token, "import getpass; print(len(getpass.getpass()))", inputs=["secret"])
    assert results[0]["options"] == {"is_password": True} and text_of(console) == "Password: 6\n"


def test_a_batch(client, token):
    assert upload(client, f"/v4/kernel/{token}/upload", ("main.py", b"import sys; print(len(sys.argv))")).status == 204
    results, console = client.run(token, "", "batch", options={"build": "*", "exec": "*"})
    assert [result["status"] for result in results] == ["build-finished", "finished"]
    assert text_of(console) == "1\n" and "setup.py" in text_of(console, "stderr")
    # Options that are null make these agents raise.
    results, console = client.run(token, "", "batch", options={"build": None, "exec": "echo done; echo bad >&2"})
    assert results[-1]["status"] == "finished" and sorted(console) == [["stderr", "bad\n"], ["stdout", "done\n"]]
    results, console = client.run(token, "", "batch", options={"clean": None, "build": "echo b", "exec": None})
    assert [result["status"] for result in results] == ["build-finished", "finished"] and text_of(console) == "b\n"


def test_many_at_once_wait_for_each_other(old, client, token):
    """From many connections, so that every worker has some of them: one at a time reaches a kernel of release 1.0."""
    client.run(token, "total = 0")
    with ThreadPoolExecutor(16) as pool:
        code = "import time; before = total; time.sleep(0.02); total = before + 1"
        ended = list(pool.map(lambda _: client.run(token, code)[0][-1]["status"], range(32)))
    assert ended == ["finished"] * 32
    assert client.run(token, "print(total)")[1] == [["stdout", "32\n"]]
    (kernel,) = kernel_of(old, client, token)
    together = {call["executing"] for call in old.calls("execute") if call["args"][1] == kernel}
    assert together == {0} or old.release != "1.0.6"
    # Nothing is left to keep anybody out.
    assert old.cluster.redis("KEYS", "backendai:local:turn:*") == ""


def test_a_client_that_hangs_up_lets_nobody_in_early(old, client, token):
    impatient = Client(f"http://{client.host}", client.access_key, client.secret_key, timeout=0.3)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            impatient.execute(token, "import time; time.sleep(1)")
        assert client.run(token, "print('in turn')")[1] == [["stdout", "in turn\n"]]


def test_a_worker_that_died_in_its_turn(old, client, token):
    """Its lease ends by itself; later releases need none, and nobody waits for one."""
    leased = old.release == "1.0.6"
    (kernel,) = kernel_of(old, client, token)
    lease = f"backendai:local:turn:{kernel}"
    assert old.cluster.redis("SET", lease, "of the dead", "PX", "1500" if leased else "600000") == "OK"
    began = time.monotonic()
    assert client.run(token, "print('alive')")[1] == [["stdout", "alive\n"]]
    assert not leased or time.monotonic() - began > 1
    old.cluster.redis("DEL", lease)


def test_turns_without_redis(old, client, token):
    """The worker's own order is all there is then; nobody is refused."""
    client.run(token, "x = 1")
    for _ in range(24):
        client.info(token)
    with old.cluster.without("redis"):
        eventually(lambda: old.cluster.admin("/readyz")[0] == 503)
        assert client.run(token, "print(x)")[1] == [["stdout", "1\n"]]
    old.cluster.ready()
    assert client.run(token, "print(x)")[1] == [["stdout", "1\n"]]


def test_a_restart(old, client, token):
    client.run(token, "x = 1; open('kept.txt', 'w').write('kept')")
    before = kernel_of(old, client, token, "id, stdin_port")
    assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204
    # The cores that the kernel had go along; the ports come back as text.
    config = old.calls("restart_kernel")[-1]["args"][1]
    assert config["cpu_set"] == [1] and config["limits"]["cpu_slot"] == 1.0 and config["mounts"] == []
    status, kernel, port = kernel_of(old, client, token, "status, id, stdin_port")
    assert (status, kernel) == ("RUNNING", before[0]) and port != before[1]
    assert client.run(token, "print('x' in globals(), open('kept.txt').read())")[1] == [["stdout", "False kept\n"]]
    # What the agent told of the old kernel has been heard by now, and did not end the new one.
    time.sleep(0.5)
    assert client.info(token).status == 200


def test_a_restart_that_fails_can_be_tried_again(old, client):
    """These agents fail where a kernel has no cores: as a session has that an older gateway made."""
    token = client.started()
    old.cluster.sql(f"UPDATE kernels SET cpu_set = '{{}}' WHERE sess_id = '{token}'")
    answer = client.signed("PATCH", f"/v4/kernel/{token}")
    assert answer.problem == (500, "kernel-restart-failed")
    assert "DockerError" in answer.json["agent-details"]["exception"], answer
    assert kernel_of(old, client, token, "status, status_info") == ["RESTARTING", "restart-failed"]
    assert client.signed("PATCH", f"/v4/kernel/{token}").problem == (500, "kernel-restart-failed")
    assert client.destroy(token).status == 200
    assert kernel_of(old, client, token, "status") == ["TERMINATED"]


def test_a_kernel_that_ends_in_the_middle_of_a_run(old, client):
    token = client.started()
    results, _ = client.run(token, "import os; os._exit(7)")
    assert (results[-1]["status"], results[-1]["exitCode"]) == ("finished", 130)
    eventually(lambda: client.info(token).status == 404)
    assert kernel_of(old, client, token, "status, status_info") == ["TERMINATED", "self-terminated"]


def test_a_session_that_is_ended_in_the_middle_of_a_run(client):
    token = client.started()
    with ThreadPoolExecutor() as pool:
        run = pool.submit(client.execute, token, "import time; time.sleep(30)")
        eventually(lambda: client.info(token).json["numQueriesExecuted"] >= 2)
        time.sleep(0.3)  # for the call to be at the agent
        assert client.destroy(token).status == 200
        result = run.result(timeout=30).json["result"]
    assert (result["status"], result["exitCode"]) == ("finished", 130)


def test_an_interrupt(client, token):
    first = client.execute(token, "import time\nwhile True: time.sleep(0.1)").json["result"]
    assert first["status"] == "continued"
    assert client.signed("POST", f"/v4/kernel/{token}/interrupt").status == 204
    last = client.execute(token, "", "continue", first["runId"]).json["result"]
    assert last["status"] == "finished" and last["console"] == [["stderr", "Interrupted!\n"]]


def test_completions_are_none(client, token):
    answer = client.signed("POST", f"/v4/kernel/{token}/complete", {"code": "pri", "options": {"row": 0, "col": 3}})
    assert answer.json == {"result": {"status": "finished", "completions": []}}


def test_uploads_stay_inside(old, client, token):
    path = f"/v4/kernel/{token}/upload"
    (kernel,) = kernel_of(old, client, token)
    assert upload(client, path, ("in.txt", b"\x00\xff")).status == 204
    assert old.file(kernel, "in.txt").read_bytes() == b"\x00\xff"
    uploads = len(old.calls("upload_file"))
    assert upload(client, path, ("../evil.txt", b"x")).problem == (400, "invalid-api-params")
    assert len(old.calls("upload_file")) == uploads and not old.file(kernel, "../evil.txt").exists()
    answer = upload(client, path, ("sub/x.txt", b"x"))
    if old.release == "1.0.6":
        # This release makes the folders elsewhere.
        assert answer.problem == (500, "kernel-execution-failed")
        assert "FileNotFoundError(2, 'No such file or directory')" == answer.json["agent-details"]["exception"]
    else:
        assert answer.status == 204 and old.file(kernel, "sub/x.txt").read_bytes() == b"x"


def test_what_the_release_does_not_have(old, client, token):
    for path in ("download?files=x", "files"):
        assert client.signed("GET", f"/v4/kernel/{token}/{path}").problem == (503, "not-implemented")
    logs = client.signed("GET", f"/v4/kernel/{token}/logs")
    if old.release == "1.0.6":
        assert logs.problem == (503, "not-implemented")
    else:
        assert logs.json == {"result": {"logs": "the container's log\n"}}
