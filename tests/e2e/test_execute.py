"""Running code: the five modes, old clients, and kernels that die."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from api import text_of

RESULT = {"runId", "status", "exitCode", "options", "files", "console"}


def one(answer):
    """The result of an execute call that was answered."""
    assert answer.status == 200, answer
    return answer.json["result"]


def until(client, token, answer, status):
    """Follows a run by `continue` until it has this status; returns that result and the console so far."""
    console = []
    for _ in range(60):
        result = one(answer)
        console += result["console"]
        if result["status"] == status:
            return result, console
        assert result["status"] == "continued", result
        answer = client.execute(token, "", "continue", result["runId"])
    raise AssertionError(f"never {status}: {result}")


# Queries


def test_a_query(client, session):
    result = one(client.execute(session, "print(1 + 1)"))
    assert set(result) >= RESULT
    assert result["status"] == "finished" and result["runId"]
    assert result["console"] == [["stdout", "2\n"]]
    assert result["files"] == [] and not result["options"]


def test_variables_live_on_whichever_worker_serves(client, session):
    client.run(session, "total = 0")
    for number in range(16):
        client.run(session, f"total += {number}")
    assert client.run(session, "print(total)")[1] == [["stdout", "120\n"]]


def test_output_stays_in_order(client, session):
    code = "import sys\nfor n in range(50):\n    print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)"
    _, console = client.run(session, code)
    lines = [(stream, line) for stream, data in console for line in data.splitlines()]
    assert lines == [(("stdout", "stderr")[n % 2], str(n)) for n in range(50)]


def test_an_exception_is_shown(client, session):
    _, console = client.run(session, "def f():\n    return 1 / 0\nf()")
    assert "ZeroDivisionError: division by zero" in text_of(console, "stderr"), console
    assert client.run(session, "print('alive')")[1] == [["stdout", "alive\n"]]


def test_a_syntax_error_is_shown(client, session):
    _, console = client.run(session, "def (")
    assert "SyntaxError" in text_of(console, "stderr"), console


def test_unicode_comes_and_goes(client, session):
    text = "한글 ünï 🎉 \\u0000 \t"
    assert client.run(session, f"print({text!r})")[1] == [["stdout", text + "\n"]]


def test_much_output(client, session):
    _, console = client.run(session, "for _ in range(2000): print('x' * 99)")
    assert text_of(console) == ("x" * 99 + "\n") * 2000


def test_a_run_id_of_the_clients_own(client, session):
    assert one(client.execute(session, "1", run_id="my-run-1"))["runId"] == "my-run-1"


# Continuation and input


def test_a_long_run_is_continued(client, session):
    code = "import time\nfor n in range(4):\n    print(n, flush=True)\n    time.sleep(1.2)"
    results, console = client.run(session, code)
    assert [result["status"] for result in results][0] == "continued"
    assert len({result["runId"] for result in results}) == 1
    assert text_of(console) == "0\n1\n2\n3\n"


def test_input(client, session):
    first = client.execute(session, "name = input('Who? ')\nprint('Hello', name)")
    waiting, console = until(client, session, first, "waiting-input")
    assert text_of(console) == "Who? "
    assert not waiting["options"].get("is_password")
    answer = client.execute(session, "Bob", "input", waiting["runId"])
    _, console = until(client, session, answer, "finished")
    assert text_of(console) == "Hello Bob\n"
    assert client.run(session, "print(name)")[1] == [["stdout", "Bob\n"]]


def test_a_password(client, session):
    first = client.execute(session, "import getpass; print(len(getpass.getpass('Secret: ')))")
    waiting, _ = until(client, session, first, "waiting-input")
    assert waiting["options"]["is_password"] is True
    answer = client.execute(session, "12345678", "input", waiting["runId"])
    assert text_of(until(client, session, answer, "finished")[1]).endswith("8\n")


def test_several_inputs(client, session):
    code = "print('+'.join(input() for _ in range(3)))"
    results, console = client.run(session, code, inputs=["a", "", "ç"])
    assert [result["status"] for result in results].count("waiting-input") == 3
    assert text_of(console).splitlines()[-1] == "a++ç"


@pytest.mark.parametrize("version", ["v2.20170315", "v3.20170615", "v4.20181215"])
def test_an_old_client_brings_input_with_a_query(client, version):
    """Clients of release 1.0 know neither `continue` nor `input`."""
    old = client.as_version(version)
    token = old.started()
    result = one(old.execute(token, "print('Hi', input('? '))", run_id="run1"))
    while result["status"] == "continued":
        result = one(old.execute(token, "", run_id="run1"))
    assert result["status"] == "waiting-input"
    result = one(old.execute(token, "Ann", run_id="run1"))
    console = result["console"]
    while result["status"] == "continued":
        result = one(old.execute(token, "", run_id="run1"))
        console += result["console"]
    assert result["status"] == "finished" and text_of(console) == "Hi Ann\n"


def test_an_old_client_continues_with_a_query(client, session):
    result = one(client.execute(session, "import time; time.sleep(5); print('done')", run_id="run2"))
    assert result["status"] == "continued"
    console = []
    for _ in range(20):
        result = one(client.execute(session, "", run_id="run2"))
        console += result["console"]
        if result["status"] == "finished":
            break
    assert result["status"] == "finished" and text_of(console) == "done\n"
    # The run is over: the same id begins a new one.
    assert one(client.execute(session, "print('new')", run_id="run2"))["console"] == [["stdout", "new\n"]]


# Batch


def test_batch(client, session):
    options = {"build": "echo building && echo 'print(6*7)' > made.py", "buildLog": True, "exec": "python made.py"}
    first = one(client.execute(session, "", "batch", options=options))
    statuses, console = [first["status"]], list(first["console"])
    while statuses[-1] != "finished":
        result = one(client.execute(session, "", "continue", first["runId"]))
        statuses.append(result["status"])
        console += result["console"]
    assert "build-finished" in statuses
    assert "42\n" in text_of(console) and result["exitCode"] == 0, console


def test_batch_with_an_exit_code(client, session):
    results, console = client.run(session, "", "batch", options={"build": "", "exec": "echo out; echo err >&2; exit 7"})
    assert results[-1]["exitCode"] == 7
    assert (text_of(console), text_of(console, "stderr")) == ("out\n", "err\n")


def test_batch_steps_may_be_null_or_missing(client, session):
    for options in ({"build": None, "exec": "echo yes"}, {"exec": "echo yes"}):
        _, console = client.run(session, "", "batch", options=options)
        assert text_of(console) == "yes\n"


# Completion


def test_completion_by_execute(client, session):
    client.run(session, "remarkable_name = 1")
    options = {"row": 0, "col": 6, "line": "remark", "post": ""}
    result = one(client.execute(session, "remark", "complete", options=options))
    assert result["status"] == "finished"
    assert any("able_name" in text for text in result["completions"]), result


# What is refused


@pytest.mark.parametrize("mode", ["", "bogus", None, 5, "QUERY"])
def test_unknown_modes(client, session, mode):
    answer = client.signed("POST", f"/v4/kernel/{session}", {"mode": mode, "code": "1", "runId": None})
    assert answer.problem == (400, "invalid-api-params") and "mode" in answer.json["title"], answer


@pytest.mark.parametrize("version", ["v2.20170315", "v3.20170615", "v4.20181215"])
def test_mode_and_run_id_must_be_there_from_version_2_on(client, session, version):
    old = client.as_version(version)
    path = f"{old.prefix()}/kernel/{session}"
    answer = old.signed("POST", path, {"code": "1", "runId": None})
    assert answer.problem == (400, "invalid-api-params") and "mode" in answer.json["title"], answer
    answer = old.signed("POST", path, {"code": "1", "mode": "query"})
    assert answer.problem == (400, "invalid-api-params") and "runId" in answer.json["title"], answer


@pytest.mark.parametrize("mode", ["continue", "input"])
def test_continue_and_input_want_a_run(client, session, mode):
    answer = client.execute(session, "", mode, None)
    assert answer.problem == (400, "invalid-api-params") and "runId" in answer.json["title"], answer


@pytest.mark.parametrize(("member", "value"), [("code", 5), ("code", ["1"]), ("runId", 5), ("options", [1])])
def test_members_of_a_wrong_type(client, session, member, value):
    body = {"mode": "query", "code": "1", "runId": None, member: value}
    answer = client.signed("POST", f"/v4/kernel/{session}", body)
    assert answer.problem == (400, "invalid-api-params") and member in answer.json["title"], answer


# Version 1


def test_version_1_has_flat_output(client):
    old = client.as_version("v1.20160915")
    token = old.started()
    answer = old.signed("POST", f"/v1/kernel/{token}", {"code": "import sys\nprint(1)\nprint(2, file=sys.stderr)"})
    result = one(answer)
    assert (result["stdout"], result["stderr"]) == ("1\n", "2\n"), result
    assert result["media"] == [] and result["html"] == []
    assert result["status"] == "finished"
    assert "console" not in result


# Kernels that die


def test_a_kernel_that_is_destroyed_in_a_run(client, session):
    seen = client.info(session).json["numQueriesExecuted"]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(client.execute, session, "import time; time.sleep(60)")
        # The call is counted before it goes to the agent: a count that skips one is its.
        while (count := client.info(session).json["numQueriesExecuted"]) == seen + 1:
            seen = count
        assert client.destroy(session).status == 200
        result = one(run.result(timeout=60))
    assert (result["status"], result["exitCode"]) == ("finished", 130), result


def test_a_kernel_that_kills_itself_in_a_run(client, session):
    results, _ = client.run(session, "import os; os.kill(os.getpid(), 9)")
    assert (results[-1]["status"], results[-1]["exitCode"]) == ("finished", 130), results


# Many at once


def test_queries_at_once_in_one_session_all_run(client, session):
    client.run(session, "seen = []")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.run(session, f"seen.append({n}); print({n})"), range(16)))
    assert [console for _, console in answers] == [[["stdout", f"{n}\n"]] for n in range(16)]
    assert client.run(session, "print(sorted(seen))")[1] == [["stdout", f"{list(range(16))}\n"]]


def test_sessions_do_not_wait_for_each_other(client):
    slow, fast = client.started(), client.started()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(client.run, slow, "import time; time.sleep(6); print('slow')")
        for number in range(5):
            assert client.run(fast, f"print({number})")[1] == [["stdout", f"{number}\n"]]
        assert not run.done()
        assert run.result(timeout=60)[1] == [["stdout", "slow\n"]]
