"""backendai-manager in a real terminal: the live view, and tables that fit the screen."""

import json
import os
import re
import secrets
import signal
import uuid

import pytest

from api import eventually
from tmux import COLOUR, Tmux


@pytest.fixture
def named(client):
    """The name of a running session, short enough to be shown whole."""
    name = "job-" + secrets.token_hex(4)
    assert client.create(name).status == 201
    return name


@pytest.fixture
def lost_agent(cluster):
    """An agent that is lost: what is to be looked at has a colour."""
    agent = "i-lost-" + uuid.uuid4().hex[:6]
    cluster.sql(
        "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots,"
        f" used_gpu_slots, addr, lost_at) VALUES ('{agent}', 'LOST', 'local', 1, 1, 0, 0, 0, 0, 'tcp://127.0.0.1:1', now())"
    )
    yield agent
    cluster.sql(f"DELETE FROM agents WHERE id = '{agent}'")


def agent_of(cluster):
    """The id of the cluster's own agent."""
    return cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE' ORDER BY id LIMIT 1")[0][0]


# top


def test_top_shows_workers_agents_and_sessions_at_80x24(cluster, named):
    pids = [str(pid) for pid in cluster.worker_pids()]
    with Tmux(cluster) as terminal:
        terminal.type("backendai-manager top")
        screen = terminal.shows(*pids, agent_of(cluster)[:10], named, "req/s", "stores: all up")
        assert "REQ/S" in screen and "P99" in screen and "STATUS" in screen and "q quit" in screen
        assert terminal.state()[0], "it has a screen of its own"


def test_top_follows_the_size_of_the_terminal(cluster, named):
    pid = str(cluster.worker_pids()[0])
    with Tmux(cluster) as terminal:
        terminal.type("backendai-manager top --interval 0.5")
        terminal.shows(named, "q quit")
        terminal.resize(120, 40)
        eventually(lambda: terminal.screen().splitlines()[39:40][0].startswith("q quit"))
        screen = terminal.shows(named, pid, "CONNS", "MEM", "IMAGE", "QUERIES")
        assert max(map(len, screen.splitlines())) > 80
        terminal.resize(60, 15)
        eventually(lambda: len(terminal.screen().splitlines()) == 15 and "q quit" in terminal.screen().splitlines()[14])
        screen = terminal.shows(named, "SLOT", "REQ/S", "AGE")
        assert "Backend.AI local" in screen.splitlines()[0], screen


def test_top_keys(cluster, named):
    with Tmux(cluster) as terminal:
        terminal.type("backendai-manager top")
        terminal.shows(named, "▸Workers", "s sort: slot")
        terminal.press("Tab", "Tab", "s")
        terminal.shows("▸Sessions", "s sort: name")
        terminal.press("?")
        terminal.shows("go to the next pane")
        terminal.press("Escape")
        terminal.shows(named)
        terminal.press("p")
        terminal.shows("PAUSED")


def test_colours_are_there_unless_they_are_not_wanted(cluster, lost_agent):
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with Tmux(cluster, **environment) as terminal:
            terminal.type("clear; backendai-manager top")
            terminal.shows(lost_agent, "LOST", "req/s")
            found = COLOUR.findall(terminal.screen("-e"))
            assert bool(found) == coloured, (environment, found)


@pytest.mark.parametrize("end", ["q", "Escape", "C-c", "TERM", "HUP"])
def test_the_terminal_is_as_before_after_top(cluster, end):
    with Tmux(cluster) as terminal:
        terminal.type("echo before; backendai-manager top; echo ended=$?")
        terminal.shows("q quit")
        eventually(lambda: terminal.state() == (True, False))
        if end in ("TERM", "HUP"):
            os.kill(terminal.child(), getattr(signal, f"SIG{end}"))
        else:
            terminal.press(end)
        screen = terminal.shows("before", "ended=0")
        assert "q quit" not in screen
        assert terminal.state() == (False, True)
        settings = " ".join(terminal.run("stty -a"))
        assert re.search(r"(?<!-)\bicanon\b", settings) and re.search(r"(?<!-)\becho\b", settings), settings


def test_what_goes_away_is_said_and_shown_again(own_cluster):
    with Tmux(own_cluster) as terminal:
        terminal.type("backendai-manager top --interval 0.5")
        terminal.shows("stores: all up", agent_of(own_cluster)[:10], str(own_cluster.worker_pids()[0]))
        with own_cluster.without("postgres"):
            terminal.shows("stores missing: postgresql", "PostgreSQL at")
        terminal.shows("stores: all up", "ALIVE")
        with own_cluster.without("gateway"):
            screen = terminal.shows("no gateway answers at 127.0.0.1")
            assert "ALIVE" in screen, "the database goes on being shown"
        terminal.shows("stores: all up", str(own_cluster.worker_pids()[0]), seconds=40)


def test_one_frame_is_text(cluster, named):
    done = cluster.program("backendai-manager", "top", "--once", "--interval", "0.2")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for part in [named, "req/s", *map(str, cluster.worker_pids())]:
        assert part in done.stdout, done.stdout


def test_top_without_a_terminal_says_so(cluster):
    done = cluster.program("backendai-manager", "top")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "backendai-manager: `top` needs a terminal: use `top --once` for one frame as text\n"


# status


def test_status_tells_workers_and_stores(cluster):
    done = cluster.program("backendai-manager", "status")
    assert done.returncode == 0, done.stderr
    first, heads, *rows = done.stdout.splitlines()
    assert first.endswith("2 of 2 workers ready, all stores answer"), first
    assert heads.split()[:4] == ["SLOT", "PID", "STATE", "CORE"]
    assert sorted(int(row.split()[1]) for row in rows) == cluster.worker_pids()
    told = json.loads(cluster.program("backendai-manager", "status", "--output", "json").stdout)
    assert (told["ready"], told["missing"], len(told["workers"])) == (True, [], 2)
    assert len(told["workers"][0]["buckets"]) == 21


def test_status_of_a_gateway_that_does_not_run(cluster):
    done = cluster.program("backendai-manager", "status", BACKEND_ADMIN_PORT="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "no gateway answers at 127.0.0.1:1 " in done.stderr and "--admin-port" in done.stderr


# Tables


@pytest.mark.parametrize("command", ["session list", "agent list", "keypair list", "status"])
def test_no_line_of_a_table_is_longer_than_the_terminal(cluster, session, command):
    whole = cluster.program("backendai-manager", *command.split()).stdout
    assert max(len(line) for line in whole.splitlines()) > 80, "without a terminal nothing is cut or folded"
    with Tmux(cluster) as terminal:
        lines = terminal.run(f"backendai-manager {command}")
        assert len(lines) > 1
        assert max(map(len, lines)) <= 80, lines
        wide = Tmux(cluster, columns=400)
        with wide:
            assert max(map(len, wide.run(f"backendai-manager {command}"))) > 80


def test_heads_are_bold_unless_told_otherwise(cluster):
    for environment, bold in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Tmux(cluster, **environment) as terminal:
            terminal.run("backendai-manager agent list")
            # The head of a long list has left the screen.
            assert ("\x1b[1m" in terminal.screen("-e", "-S", "-")) == bold


def test_a_manual_page_is_one_that_man_can_read(cluster, tmp_path):
    assert cluster.program("backendai-manager", "man", str(tmp_path)).returncode == 0
    page = (tmp_path / "backendai-manager-top.1").read_text()
    assert page.startswith(".ie") and ".TH" in page and "\\-\\-interval" in page
    assert cluster.program("backendai-manager", "man").stdout == (tmp_path / "backendai-manager.1").read_text()
