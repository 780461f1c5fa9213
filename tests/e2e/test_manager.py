"""backendai-manager as it is installed, against a cluster that runs."""

import json
import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from api import Client, eventually
from cluster import programs

MANAGER = "backendai-manager"


@pytest.fixture
def manager(cluster):
    """Runs a command of which nobody can be asked anything; returns the finished process."""
    return lambda *arguments, **environment: cluster.program(MANAGER, *arguments, **environment)


def done(process):
    """What a command printed, having checked that it did what it was asked for."""
    assert (process.returncode, process.stderr) == (0, ""), process
    return process.stdout


def row(cluster, client, token):
    """Status and reason of a session, whichever of that name came last."""
    columns = "status, coalesce(status_info, '-')"
    where = f"access_key = '{client.access_key}' AND sess_id = '{token}'"
    return cluster.sql(f"SELECT {columns} FROM kernels WHERE {where} ORDER BY created_at DESC LIMIT 1")[0]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, cluster, *arguments):
        self.screen, end = pty.openpty()
        self.process = subprocess.Popen(
            [programs() / MANAGER, *arguments],
            env={**os.environ, **cluster.settings, "TERM": "xterm"},
            stdin=end,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        self.text = ""

    def until(self, text, seconds=60):
        """Reads until a text has come."""
        while text not in self.text:
            assert select.select([self.screen], [], [], seconds)[0], f"no {text!r} in {self.text!r}"
            assert self.read(), f"ended without {text!r}: {self.text!r}"

    def read(self):
        try:
            part = os.read(self.screen, 65536).decode()
        except OSError:  # the other side has gone
            return False
        self.text += part
        return bool(part)

    def type(self, text):
        """Types a line."""
        os.write(self.screen, text.encode() + b"\n")

    def end(self):
        """Reads to the end; returns the exit code."""
        while self.read():
            pass
        os.close(self.screen)
        return self.process.wait(timeout=60)


# Exit codes and questions


def test_exit_codes_tell_done_from_wrong_from_misunderstood(manager):
    assert manager("agent", "list").returncode == 0
    wrong, misunderstood = manager("agent", "show", "i-none"), manager("agent", "shwo")
    assert (wrong.returncode, wrong.stderr) == (1, "backendai-manager: there is no agent i-none\n")
    assert (misunderstood.returncode, misunderstood.stderr.count("\n")) == (2, 1)


def test_what_cannot_be_undone_needs_yes_where_nobody_can_be_asked(cluster, client, session, manager):
    agent = cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE'")[0][0]
    before = cluster.sql("SELECT count(*) FROM audit_log")
    for command in [
        ["session", "destroy", session],
        ["agent", "drain", agent],
        ["keypair", "rotate", client.access_key],
        ["image", "remove", "git"],
        ["alias", "remove", "py"],
        ["audit", "prune", "--before", "0"],
        ["etcd", "delete", "--recursive", "images"],
    ]:
        refused = manager(*command)
        assert refused.returncode == 2, (command, refused)
        assert "--yes" in refused.stderr and refused.stderr.count("\n") == 1 and not refused.stdout, (command, refused)
    assert cluster.sql("SELECT count(*) FROM audit_log") == before
    assert row(cluster, client, session) == ["RUNNING", "-"]
    assert client.info(session).status == 200
    assert cluster.sql("SELECT bool_and(schedulable) FROM agents") == [["t"]]


def test_a_terminal_is_asked_and_only_yes_is_yes(cluster, manager):
    done(manager("alias", "add", "asked", "python:3"))
    for answer, code, left in [("n", 1, ["python:3"]), ("", 1, ["python:3"]), ("y", 0, [])]:
        terminal = Terminal(cluster, "alias", "remove", "asked")
        terminal.until("Remove alias asked, which stands for python:3? [y/N] ")
        terminal.type(answer)
        assert terminal.end() == code, terminal.text
        assert cluster.etcd("get", "images/_aliases/asked", "--print-value-only") == left
        assert ("nothing was changed" in terminal.text) == (code == 1), terminal.text


# Sessions and agents. What the leader does with them is in the tests that wait for it.


def test_a_session_is_marked_for_the_leader(cluster, client, session, manager):
    assert done(manager("session", "destroy", session, "--yes", "--no-wait")) == f"{session}: will be ended\n"
    entry = json.loads(done(manager("audit", "list", "--target", session, "--output", "json")))[0]
    assert (entry["action"], entry["via"], entry["outcome"]) == ("session destroy", "manager", "done")
    assert row(cluster, client, session)[1] == "admin-requested"
    # Whoever calls it by its name meets no session any more.
    eventually(lambda: client.info(session).status == 404)


def test_a_destroyed_session_has_ended(cluster, client, manager):
    tokens = [client.started() for _ in range(3)]
    ended = done(manager("session", "destroy", *tokens, "--yes"))
    assert ended == "".join(f"{token}: ended\n" for token in tokens)
    for token in tokens:
        assert row(cluster, client, token) == ["TERMINATED", "admin-requested"]
        assert client.info(token).status == 404
    used = cluster.sql(f"SELECT concurrency_used FROM keypairs WHERE access_key = '{client.access_key}'")
    assert used == [["0"]]
    again = manager("session", "destroy", tokens[0], "--yes")
    assert (again.returncode, again.stderr) == (1, f"backendai-manager: session {tokens[0]} has ended already\n")


def test_a_name_that_several_keys_have_is_not_guessed(cluster, client, manager):
    other = cluster.new_key()
    token = client.started()
    assert other.create(token).status == 201
    refused = manager("session", "destroy", token, "--yes")
    assert refused.returncode == 1 and "--access-key" in refused.stderr
    assert client.access_key in refused.stderr and other.access_key in refused.stderr
    done(manager("session", "destroy", token, "--access-key", other.access_key, "--yes", "--no-wait"))
    assert client.info(token).status == 200
    eventually(lambda: other.info(token).status == 404)


def test_a_cordoned_agent_gets_no_new_sessions(cluster, client, session, manager):
    agents = [agent for (agent,) in cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE'")]
    try:
        done(manager("agent", "cordon", *agents))
        assert client.create().status != 201
        assert client.run(session, "print('on')")[1] == [["stdout", "on\n"]]
    finally:
        done(manager("agent", "uncordon", *agents))
    eventually(lambda: client.create().status == 201)


def test_a_drained_agent_is_empty(cluster, client, manager):
    agent = cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE'")[0][0]
    tokens = [client.started() for _ in range(2)]
    try:
        terminal = Terminal(cluster, "agent", "drain", agent, "--grace", "1")
        terminal.until("[y/N] ")
        terminal.type("y")
        assert terminal.end() == 0, terminal.text
        assert "ending sessions [" in terminal.text and f"{agent} is drained" in terminal.text
        assert cluster.sql(f"SELECT count(*) FROM kernels WHERE agent = '{agent}' AND status NOT IN ('TERMINATED', 'ERROR')") == [["0"]]
        assert [row(cluster, client, token)[0] for token in tokens] == ["TERMINATED"] * 2
        assert client.create().status != 201
    finally:
        done(manager("agent", "uncordon", agent))
    eventually(lambda: client.create().status == 201)


# Key pairs, images: gateways follow


def test_a_rotated_secret_is_the_only_one(cluster, manager):
    client = cluster.new_key()
    assert client.signed("GET", "/v4/auth", {"echo": "a"}).status == 200
    shown = json.loads(done(manager("keypair", "rotate", client.access_key, "--yes", "--output", "json")))[0]
    new = Client(cluster.endpoint, client.access_key, shown["secret_key"])
    eventually(lambda: new.signed("GET", "/v4/auth", {"echo": "a"}).status == 200)
    eventually(lambda: [client.signed("GET", "/v4/auth", {"echo": "a"}).status for _ in range(8)] == [401] * 8)


def test_a_new_tag_and_a_new_name_can_be_used_until_they_are_removed(client, manager):
    assert done(manager("image", "add", "python:extra", "--hash", "builtin")) == "images/python/tags/extra builtin\n"
    assert done(manager("alias", "add", "extra", "python:extra")) == "extra -> python:extra\n"
    try:
        eventually(lambda: client.create(lang="extra").status == 201)
    finally:
        removed = done(manager("image", "remove", "python:extra", "--yes"))
        assert removed == "removed python:extra\nalias extra stands for nothing now\n"
        assert done(manager("alias", "remove", "extra", "--yes")) == "removed extra -> python:extra\n"
    eventually(lambda: all(client.create(lang="extra").status >= 400 for _ in range(4)))


def test_loading_many_images_shows_how_far_it_is_on_a_terminal_only(cluster, manager, tmp_path):
    file = tmp_path / "images.yml"
    image = "- {{name: many-{}, tags: [[latest, builtin]], slots: {{cpu: 1, mem: 1, gpu: 0}}}}\n"
    file.write_text("images:\n" + "".join(image.format(number) for number in range(40)))
    try:
        terminal = Terminal(cluster, "etcd", "update-images", "-f", str(file))
        assert terminal.end() == 0, terminal.text
        assert re.search(r"writing images \[=* *\] \d+/40", terminal.text), terminal.text
        assert done(manager("etcd", "update-images", "-f", str(file))).splitlines()[0] == "many-0: 1 tags"
    finally:
        for number in range(40):
            done(manager("image", "remove", f"many-{number}", "--yes"))


# Long lists


def peak(cluster, *arguments, **environment):
    """Runs a command; returns the lines of its output and the most memory it had, in KiB.

    Linux keeps that as VmHWM for as long as the process lives, which is at least until all but the last
    of its output is read. What wait4 says would be that of this program where it is more.
    """
    command = [programs() / MANAGER, *arguments]
    process = subprocess.Popen(command, env={**os.environ, **cluster.settings, **environment}, stdout=subprocess.PIPE, bufsize=0)
    lines, most = 0, 0
    while part := process.stdout.read(16384):
        lines += part.count(b"\n")
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        most = max(most, int(found[1]) if found else 0)
    assert process.wait(timeout=60) == 0
    return lines, most


@pytest.fixture(scope="module")
def many(cluster):
    """The name of a database with 200,000 sessions."""
    name = "many_sessions"
    cluster.sql(f"CREATE DATABASE {name}")
    done(cluster.program(MANAGER, "schema", "oneshot", "head", BACKEND_DB_NAME=name))
    cluster.sql("INSERT INTO keypairs (access_key, is_active) VALUES ('K', true)", name)
    for part in range(10):
        cluster.sql(
            "INSERT INTO kernels (sess_id, agent_addr, access_key, lang, mem_slot, cpu_slot, gpu_slot, repl_in_port,"
            " repl_out_port, stdin_port, stdout_port, status, created_at) SELECT 'session-' || n, 'a', 'K', 'python:3',"
            " 256, 1, 0, 0, 0, 0, 0, 'TERMINATED', '2026-01-01'::timestamptz + n * interval '1 s'"
            f" FROM generate_series({part * 20000 + 1}, {part * 20000 + 20000}) n",
            name,
        )
    yield name
    cluster.sql(f"DROP DATABASE {name}")


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_list_of_200_000_sessions_takes_no_more_memory_than_one_of_1_000(cluster, many, output):
    command = ["session", "list", "--all", "--output", output]
    per_row = {"table": (1, 1), "json": (10, 2)}[output]  # lines of a row, and those around them
    few, base = peak(cluster, *command, "--limit", "1000", BACKEND_DB_NAME=many)
    lines, most = peak(cluster, *command, BACKEND_DB_NAME=many)
    print(f"{output}: {base} KiB for 1,000 rows, {most} KiB for 200,000")
    assert (few, lines) == (1000 * per_row[0] + per_row[1], 200_000 * per_row[0] + per_row[1])
    assert 0 < base and most <= base + 16 * 1024


def test_pages_are_parts_of_the_whole(cluster, many):
    page = lambda *part: json.loads(  # noqa: E731
        done(cluster.program(MANAGER, "session", "list", "--all", "--output", "json", *part, BACKEND_DB_NAME=many))
    )
    names = [item["sess_id"] for item in page("--limit", "3", "--offset", "100000")]
    assert names == ["session-100000", "session-99999", "session-99998"]
    assert len(page("--limit", "10", "--offset", "199995")) == 5
