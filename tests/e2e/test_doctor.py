"""backendai-manager doctor, on a cluster that is well and on one that is not."""

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from api import eventually
from cluster import programs

SHIFTED_CLOCK = Path(__file__).parents[1] / "support" / "shifted_clock.c"
STATES = ["ok", "mended", "note", "skipped", "warning", "failed"]  # best first


@pytest.fixture
def cluster(own_cluster):
    """Every test finds it well and leaves it so."""
    own_cluster.ready()
    yield own_cluster


class Findings:
    """What `doctor --output json` says, and how it ended."""

    def __init__(self, cluster, *arguments, **environment):
        done = cluster.program("backendai-manager", "doctor", "--output", "json", *arguments, **environment)
        self.status, self.errors = done.returncode, done.stderr
        self.rows = json.loads(done.stdout) if done.stdout else []

    def of(self, check):
        """(worst state, all that is said) of one check."""
        rows = [row for row in self.rows if row["check"] == check]
        assert rows, (check, self.errors)
        return max((row["state"] for row in rows), key=STATES.index), " ".join(row["what"] + " " + row["mend"] for row in rows)

    def checks(self, *states):
        """The names of the checks that stand so."""
        return {row["check"] for row in self.rows if row["state"] in states}


def assert_well(found):
    """Nothing is red: at most there is something worth knowing."""
    assert found.status == 0, (found.errors, found.rows)
    assert {row["state"] for row in found.rows} <= {"ok", "note"}, found.rows


def run_on_terminal(cluster, *arguments, keys="", **environment):
    """Runs doctor with a terminal for all three streams: (exit status, what was shown)."""
    ours, theirs = pty.openpty()
    command = [programs() / "backendai-manager", "doctor", *arguments]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **cluster.settings, "TERM": "xterm", **environment}
    )
    os.close(theirs)
    os.write(ours, keys.encode())
    shown = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # the last program has closed it
            break
        if not read:
            break
        shown += read
    os.close(ours)
    return process.wait(timeout=60), shown.decode().replace("\r\n", "\n")


def break_a_sum(cluster):
    """Makes an agent's used memory 512 MiB more than its sessions'; returns the agent."""
    ((agent, _),) = cluster.sql("UPDATE agents SET used_mem_slots = used_mem_slots + 512 RETURNING id, used_mem_slots")
    return agent


def mended(cluster):
    """Whether the agent's used memory is that of its sessions."""
    return cluster.sql("SELECT count(*) FROM backendai_wrong_sums") == [["0"]]


def test_a_healthy_cluster_is_green(cluster):
    found = Findings(cluster)
    assert_well(found)
    state, text = found.of("example-keys")
    assert state == "note" and "for try-outs only: AKIAIOSFODNN7EXAMPLE" in text
    for check in ["postgresql", "schema", "redis", "etcd", "gateway", "gateway-ready", "agents", "nodes", "images", "agent-slots"]:
        assert found.of(check)[0] == "ok", found.of(check)
    done = cluster.program("backendai-manager", "doctor")
    assert done.returncode == 0 and done.stderr == ""
    assert "\x1b" not in done.stdout and re.search(r"^\d+ checks: \d+ ok", done.stdout.splitlines()[-1])


def test_a_session_changes_nothing_about_that(cluster):
    client = cluster.new_key()
    token = client.started()
    assert_well(Findings(cluster))
    assert client.destroy(token).status == 200
    assert_well(Findings(cluster))


def test_redis_away(cluster):
    with cluster.without("redis"):
        found = eventually(lambda: (it := Findings(cluster)).of("gateway-ready")[0] == "failed" and it)
        assert found.status == 1 and "failed: gateway-ready, redis" in found.errors
        state, text = found.of("redis")
        assert state == "failed" and cluster.settings["BACKEND_REDIS_ADDR"] in text and "--redis-addr" in text
        assert "redis" in found.of("gateway-ready")[1].lower()
        skipped = {"redis-version", "redis-memory", "redis-persistence", "redis-writable", "clock-redis", "heartbeats"}
        assert found.checks("skipped") == skipped
        assert found.checks("failed") == {"redis", "gateway-ready"}
    cluster.ready()
    assert_well(Findings(cluster))


def test_a_right_that_was_revoked(cluster):
    cluster.sql(
        "CREATE ROLE limited LOGIN PASSWORD 'p'; GRANT ALL ON ALL TABLES IN SCHEMA public TO limited;"
        " REVOKE UPDATE ON kernels FROM limited"
    )
    limited = {"BACKEND_DB_USER": "limited", "BACKEND_DB_PASSWORD": "p"}
    found = Findings(cluster, **limited)
    assert found.status == 1 and found.checks("failed") == {"table-rights"}
    assert "lacks UPDATE on kernels" in (text := found.of("table-rights")[1])
    cluster.sql(re.search(r"GRANT UPDATE ON kernels TO limited", text)[0])
    assert_well(Findings(cluster, **limited))


@pytest.mark.parametrize(("seconds", "state", "which"), [(30, "warning", "behind"), (-900, "failed", "ahead of")])
def test_a_clock_that_is_off(cluster, tmp_path, seconds, state, which):
    library = tmp_path / "shifted_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SHIFTED_CLOCK, "-ldl"], check=True, timeout=60)
    found = Findings(cluster, LD_PRELOAD=str(library), CLOCK_OFFSET=str(seconds))
    assert found.status == (1 if state == "failed" else 0)
    for check in ["clock-postgresql", "clock-redis"]:
        stands, text = found.of(check)
        assert stands == state and f"s {which} this machine's" in text and "NTP" in text, text
    # Heartbeats are of this moment, which is a quarter of an hour away for a clock that is late.
    assert found.of("heartbeats")[0] == ("failed" if seconds < 0 else "ok")
    assert found.checks("failed", "warning") <= {"clock-postgresql", "clock-redis", "heartbeats"}


def test_a_sum_that_was_broken_is_mended_when_asked(cluster):
    agent = break_a_sum(cluster)
    found = Findings(cluster)
    assert found.status == 1 and found.checks("failed") == {"agent-slots"}
    state, text = found.of("agent-slots")
    assert f"agent {agent} says" in text and '"mem":512' in text and "doctor --fix" in text

    unasked = cluster.program("backendai-manager", "doctor", "--fix")
    assert unasked.returncode == 2 and "--yes" in unasked.stderr and unasked.stdout == ""
    assert not mended(cluster)

    done = Findings(cluster, "--fix", "--yes")
    assert done.status == 0 and done.of("agent-slots")[0] == "mended", (done.rows, done.errors)
    assert mended(cluster)
    assert_well(Findings(cluster))
    ((actor, *rest),) = cluster.sql(
        "SELECT actor, via, action, target_type, target, outcome FROM audit_log WHERE action = 'doctor --fix' ORDER BY id"
    )
    assert rest == ["manager", "doctor --fix", "agent", agent, "done"] and re.fullmatch(r"[^@]+@[^@]+", actor)


def test_on_a_terminal_it_asks_first_and_has_colours(cluster):
    break_a_sum(cluster)
    status, shown = run_on_terminal(cluster, "--fix", keys="n\n")
    assert status == 1 and "Mend 1 sum? [y/N]" in shown and "\x1b[31mfailed" in shown and "mended" not in shown
    assert not mended(cluster)
    status, shown = run_on_terminal(cluster, "--fix", keys="y\n", NO_COLOR="1")
    assert status == 0 and "\x1b" not in shown and re.search(r"mended +agent-slots +agent .* says", shown), shown
    assert mended(cluster)


def test_the_leader_mends_a_sum_by_itself(cluster):
    def told():
        log = (cluster.data / "log" / "gateway.log").read_text(errors="replace")
        return [line for line in log.splitlines() if "was wrong and is mended" in line]

    before = len(told())
    agent = break_a_sum(cluster)
    eventually(lambda: mended(cluster), seconds=100, every=2)
    (line,) = eventually(lambda: told()[before:])
    assert f"agent {agent}" in line and "512" in line
