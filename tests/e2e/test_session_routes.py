"""The routes of a session beside creating, running and ending it: restart, interrupt, complete, files, logs."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import eventually, text_of
from upload import archives, form, parts, upload


def row(cluster, client, token, columns="status"):
    """Columns of the live session's row."""
    return cluster.sql(
        f"SELECT {columns} FROM kernels WHERE access_key = '{client.access_key}' AND sess_id = '{token}'"
        " AND status NOT IN ('TERMINATED', 'ERROR')"
    )[0]


# Restart


def test_a_restart_keeps_files_and_forgets_variables(cluster, client):
    token = client.started(config={"environ": {"COLOUR": "green"}})
    client.run(token, "x = 1; open('kept.txt', 'w').write('here')")
    before = row(cluster, client, token, "id, cpu_set, agent")
    answer = client.signed("PATCH", f"/v4/kernel/{token}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (204, b"", "0")
    assert row(cluster, client, token, "id, cpu_set, agent") == before
    assert row(cluster, client, token) == ["RUNNING"]
    code = "import os; print('x' in globals(), open('kept.txt').read(), os.environ['COLOUR'])"
    for _ in range(4):  # on whichever worker
        assert client.run(token, code)[1] == [["stdout", "False here green\n"]]


def test_a_restart_by_method_override(client, session):
    client.run(session, "x = 1")
    assert client.signed("POST", f"/v4/kernel/{session}", headers={"X-Method-Override": "PATCH"}).status == 204
    assert client.run(session, "print('x' in globals())")[1] == [["stdout", "False\n"]]


def test_a_restart_ends_the_run_under_way(client, session):
    with ThreadPoolExecutor() as pool:
        run = pool.submit(client.run, session, "import time; print('on', flush=True); time.sleep(60)")
        eventually(lambda: client.execute(session, "", "continue", "nobody").status)  # comes after the run's first call
        assert client.signed("PATCH", f"/v4/kernel/{session}").status == 204
        results, _ = run.result(timeout=30)
    assert results[-1]["status"] == "finished"
    assert client.run(session, "print('again')")[1] == [["stdout", "again\n"]]


def test_restarts_at_once_are_one_after_the_other(cluster, client, session):
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: client.signed("PATCH", f"/v4/kernel/{session}"), range(3)))
    assert [answer.status for answer in answers] == [204] * 3
    assert row(cluster, client, session) == ["RUNNING"]
    assert client.run(session, "print('fine')")[1] == [["stdout", "fine\n"]]


def test_a_restart_that_nobody_finished_is_ended_by_the_leader(cluster, client, session):
    """As a worker leaves it that was killed in the middle, a minute ago."""
    used = "SELECT used_mem_slots FROM agents WHERE status = 'ALIVE'"
    with_session = cluster.sql(used)
    cluster.sql(
        "UPDATE kernels SET status = 'RESTARTING', owner_node = 'gone', status_changed = now() - interval '1 minute'"
        f" WHERE sess_id = '{session}'"
    )
    cluster.sql(f"UPDATE kernels SET status_changed = now() - interval '1 minute' WHERE sess_id = '{session}'")
    ended = f"SELECT status, status_info FROM kernels WHERE sess_id = '{session}'"
    eventually(lambda: cluster.sql(ended) == [["ERROR", "restart-failed"]])
    assert client.info(session).problem == (404, "kernel-not-found")
    assert cluster.sql(used) != with_session


# Interrupt and complete


def test_an_interrupt_ends_the_run(client, session):
    client.run(session, "x = 'kept'")
    first = client.execute(session, "import time\nwhile True: time.sleep(0.1)").json["result"]
    assert first["status"] == "continued"
    assert client.signed("POST", f"/v4/kernel/{session}/interrupt").status == 204
    last = client.execute(session, "", "continue", first["runId"]).json["result"]
    assert last["status"] == "finished"
    assert client.run(session, "print(x)")[1] == [["stdout", "kept\n"]]


def test_completions(client, session):
    client.run(session, "import string")
    options = {"row": 0, "col": 13, "line": "string.ascii_", "post": ""}
    answer = client.signed("POST", f"/v4/kernel/{session}/complete", {"code": "string.ascii_", "options": options})
    assert answer.status == 200 and set(answer.json) == {"result"}, answer
    assert answer.json["result"]["status"] == "finished"
    completions = answer.json["result"]["completions"]
    assert any("ascii_letters" in str(found) for found in completions), completions


@pytest.mark.parametrize("body", [b"", {}, {"code": 1}, {"code": "x", "options": []}])
def test_malformed_completions(client, session, body):
    answer = client.signed("POST", f"/v4/kernel/{session}/complete", body)
    assert answer.problem == (400, "invalid-api-params")


# Files


def test_files_go_up_and_come_down(client, session):
    files = [("a.txt", b"one\r\n--two"), ("sub/dir/b.bin", bytes(range(256))), ("empty", b"")]
    answer = upload(client, f"/v4/kernel/{session}/upload", *files)
    assert (answer.status, answer.body) == (204, b"")
    code = "import os; print(open('a.txt').read(), os.path.getsize('sub/dir/b.bin'), os.path.getsize('empty'))"
    assert client.run(session, code)[1] == [["stdout", "one\n--two 256 0\n"]]
    answer = client.signed("GET", f"/v4/kernel/{session}/download?files=a.txt&files=sub%2Fdir")
    assert archives(answer) == [{"a.txt": files[0][1]}, {"dir": None, "dir/b.bin": files[1][1]}]
    assert "a.txt" in parts(answer)[0][0]["Content-Disposition"]


def test_files_are_named_in_a_json_body_too(client, session):
    upload(client, f"/v4/kernel/{session}/upload", ("ü.txt", b"x"))
    answer = client.signed("GET", f"/v4/kernel/{session}/download", {"files": ["ü.txt"]})
    assert archives(answer) == [{"ü.txt": b"x"}]


@pytest.mark.parametrize("version", ["v2.20170315", "v3.20170615", "v4.20181215"])
def test_a_signature_of_a_form_leaves_its_body_out(client, session, version):
    answer = upload(client, f"/{version[:2]}/kernel/{session}/upload", ("v.txt", b"x"), version=version)
    assert answer.status == 204, answer


def test_the_largest_upload(client, session):
    files = [(f"f{n}", bytes([n]) * (1 << 20)) for n in range(20)]
    assert upload(client, f"/v4/kernel/{session}/upload", *files).status == 204
    code = "import os; print(sum(os.path.getsize(f'f{n}') for n in range(20)))"
    assert client.run(session, code)[1] == [["stdout", f"{20 << 20}\n"]]


@pytest.mark.parametrize(
    "files",
    [
        [(f"f{n}", b"") for n in range(21)],
        [("big", b"x" * ((1 << 20) + 1))],
        [],
        [("", b"x")],
        [("../evil", b"x")],
        [("/tmp/evil", b"x")],
        [("a/../../evil", b"x")],
        [("folder/", b"x")],
        [("x" * 256, b"x")],
        [(b"\xff\xfe", b"x")],
    ],
    ids=["many", "big", "none", "unnamed", "up", "absolute", "up-inside", "folder", "long", "no-utf8"],
)
def test_uploads_that_are_refused(client, session, files):
    assert upload(client, f"/v4/kernel/{session}/upload", *files).problem == (400, "invalid-api-params")
    assert client.run(session, "print('fine')")[1] == [["stdout", "fine\n"]]


def test_uploads_that_are_no_form(client, session):
    path = f"/v4/kernel/{session}/upload"
    for body, content_type in [
        (b"{}", "application/json"),
        (b"", None),
        (form(("a", b"x")), "multipart/form-data"),
        (form(("a", b"x"))[:-8], "multipart/form-data; boundary=3b9a1c5d7e2f4a60"),
        (b"nothing of the sort", "multipart/form-data; boundary=3b9a1c5d7e2f4a60"),
    ]:
        answer = client.signed("POST", path, body, content_type=content_type)
        assert answer.problem == (400, "invalid-api-params"), (body, content_type)


def test_a_form_where_json_is_wanted(client, session):
    answer = upload(client, f"/v4/kernel/{session}", ("a", b"x"))
    assert answer.problem == (400, "invalid-api-params")


@pytest.mark.parametrize("files", [[], [f"f{n}" for n in range(6)], ["../x"], ["/etc/passwd"], [""], ["a\0b"], [1]])
def test_downloads_that_are_refused(client, session, files):
    answer = client.signed("GET", f"/v4/kernel/{session}/download", {"files": files})
    assert answer.problem == (400, "invalid-api-params")


def test_a_download_of_what_is_not_there(client, session):
    answer = client.signed("GET", f"/v4/kernel/{session}/download?files=missing")
    assert answer.problem == (500, "kernel-execution-failed")
    assert "FileNotFoundError" in answer.json["agent-details"]["exception"]


def test_a_listing(client, session):
    upload(client, f"/v4/kernel/{session}/upload", ("listed/one.txt", b"123"))
    answer = client.signed("GET", f"/v4/kernel/{session}/files?path=listed")
    assert answer.status == 200 and set(answer.json) == {"files", "errors", "folder_path", "abspath"}, answer
    (entry,) = json.loads(answer.json["files"])
    assert (entry["filename"], entry["size"], entry["mode"][0]) == ("one.txt", 3, "-")
    top = json.loads(client.signed("GET", f"/v4/kernel/{session}/files").json["files"])
    assert "listed" in [entry["filename"] for entry in top]
    assert client.signed("GET", f"/v4/kernel/{session}/files?path=../..").problem == (400, "invalid-api-params")


def test_logs(client, session):
    assert "to the log" not in client.signed("GET", f"/v4/kernel/{session}/logs").json["result"]["logs"]
    client.run(session, "print('to the ' + 'log')")
    answer = client.signed("GET", f"/v4/kernel/{session}/logs")
    assert answer.status == 200, answer
    assert "to the log\n" in answer.json["result"]["logs"]


# What they have in common


@pytest.mark.parametrize(
    "method, path",
    [
        ("PATCH", ""),
        ("POST", "/interrupt"),
        ("POST", "/complete"),
        ("POST", "/upload"),
        ("GET", "/download?files=x"),
        ("GET", "/files"),
        ("GET", "/logs"),
    ],
)
def test_a_session_that_is_not_there(client, method, path):
    assert client.signed(method, f"/v4/kernel/no-such-session{path}", {}).problem == (404, "kernel-not-found")


def test_each_call_counts_one_query(client, session):
    first = client.info(session).json["numQueriesExecuted"]
    calls = [("PATCH", ""), ("POST", "/interrupt"), ("POST", "/complete"), ("GET", "/files"), ("GET", "/logs")]
    for method, path in calls:
        client.signed(method, f"/v4/kernel/{session}{path}", {"code": ""})
    upload(client, f"/v4/kernel/{session}/upload", ("a", b""))
    client.signed("GET", f"/v4/kernel/{session}/download?files=a")
    assert client.info(session).json["numQueriesExecuted"] == first + len(calls) + 3


def test_an_admin_acts_for_another(cluster, client, session):
    admin, other = cluster.new_key(is_admin=True), cluster.new_key()
    path = f"/v4/kernel/{session}?owner_access_key={client.access_key}"
    assert admin.signed("GET", path).json["lang"]
    assert admin.signed("PATCH", path).status == 204
    assert admin.signed("GET", f"/v4/kernel/{session}").problem == (404, "kernel-not-found")
    assert other.signed("GET", path).problem == (401, "auth-failed")
    assert admin.signed("DELETE", path).status == 200
    assert client.info(session).problem == (404, "kernel-not-found")


def test_old_stubs(client):
    for method, path in [("POST", "/folder/create"), ("GET", "/folder/x"), ("DELETE", "/folder/x")]:
        assert client.signed(method, f"/v3{path}").problem == (503, "not-implemented")
    refused = client.signed("POST", "/v3/folder/x")
    assert refused.problem == (405, "method-not-allowed")
    assert {"GET", "DELETE"} <= set(refused.headers["Allow"].replace(" ", "").split(","))


# Redis away at a session's end


def test_a_session_that_ended_without_redis_stays_ended(own_cluster):
    """Every worker knows the session; its total outlives it in Redis until somebody can remove it."""
    client = own_cluster.new_key()
    token = client.started()
    for _ in range(24):
        assert client.info(token).status == 200
    with own_cluster.without("redis"):
        eventually(lambda: own_cluster.admin("/readyz")[0] == 503)
        assert client.destroy(token).status == 200
    own_cluster.ready()
    total = f"SELECT id FROM kernels WHERE sess_id = '{token}'"
    ((kernel,),) = own_cluster.sql(total)
    eventually(lambda: own_cluster.redis("HGET", "backendai:local:queries", kernel) == "")
    assert {client.info(token).status for _ in range(24)} == {404}


def test_a_client_that_hangs_up_leaves_its_run_going(client, session):
    impatient = type(client)(f"http://{client.host}", client.access_key, client.secret_key, timeout=0.5)
    with pytest.raises(TimeoutError):
        impatient.execute(session, "import time; time.sleep(1.2); print('done', flush=True); after = 42", run_id="left")
    # Its last answer may have gone with the client; what it did is there, and its run has ended.
    assert client.run(session, "print(after)")[1][-1] == ["stdout", "42\n"]
    answer = client.execute(session, "", "continue", "left")
    assert answer.status == 200 and answer.json["result"]["status"] == "finished", answer


def test_threads_of_one_client_take_turns(client, session):
    client.run(session, "log = []")
    threads = [
        threading.Thread(target=client.run, args=(session, f"log.append('{n}+'); log.append('{n}-')")) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, console = client.run(session, "print(' '.join(log))")
    told = text_of(console).split()
    assert sorted(told) == sorted(f"{n}{sign}" for n in range(8) for sign in "+-")
    assert all(told[at][:-1] == told[at + 1][:-1] for at in range(0, 16, 2)), told
