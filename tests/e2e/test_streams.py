"""Terminals, followed runs and events: connections that stay."""

import base64
import hashlib
import os
import signal
import subprocess
import time

import pytest

from api import Client, eventually
from terminals import TerminalAgent
from websocket import BINARY, CLOSE, PING, PONG, TEXT, Events, Terminal, WebSocket, request


@pytest.fixture(scope="module")
def agent(cluster):
    agent = TerminalAgent(cluster)
    yield agent
    agent.end()


@pytest.fixture
def place(agent, client):
    """(name, kernel id) of a session with a terminal."""
    token, kernel = agent.session(client)
    yield token, kernel
    client.destroy(token)


@pytest.fixture
def fresh(cluster, client):
    """(agent, name, kernel id): an agent of its own, for tests that move or end its terminal."""
    agent = TerminalAgent(cluster)
    token, kernel = agent.session(client)
    yield agent, token, kernel
    agent.end()


def pty(token):
    return f"/v4/stream/kernel/{token}/pty"


def resize(rows, cols):
    return {"type": "resize", "rows": rows, "cols": cols}


# The handshake


def test_a_terminal_wants_a_websocket(client, place):
    target = pty(place[0])
    answer = client.signed("GET", target)
    assert answer.problem == (426, "upgrade-required"), answer
    assert answer.headers["Sec-WebSocket-Version"] == "13" and answer.headers["Upgrade"] == "websocket"
    for headers in ({"Upgrade": "h2c"}, {"Connection": "close"}, {"Sec_WebSocket_Version": "8"}):
        assert request(client, target, **headers)[1].problem == (426, "upgrade-required"), headers
    for key in (None, "", "short", "c2hvcnQ="):
        assert request(client, target, Sec_WebSocket_Key=key)[1].problem == (400, "generic-bad-request"), key
    assert client.signed("POST", target).problem == (405, "method-not-allowed")


def test_a_terminal_is_its_owners(cluster, client, place):
    target = pty(place[0])
    assert request(client, target, signed=False)[1].problem == (401, "auth-failed")
    assert request(cluster.new_key(), target)[1].problem == (404, "kernel-not-found")
    assert request(client, pty("no-such-session"))[1].problem == (404, "kernel-not-found")
    wrong = Client(f"http://{client.host}", client.access_key, "wrong")
    assert request(wrong, target)[1].problem == (401, "auth-failed")
    admin = cluster.client()
    owner = f"{target}?owner_access_key={client.access_key}"
    assert request(admin, owner)[1].status == 101


def test_the_handshake_counts_as_a_query(client, place):
    with Terminal(client, place[0]) as terminal:
        assert int(terminal.answer.headers["X-RateLimit-Remaining"]) < 30000
        assert client.info(place[0]).json["numQueriesExecuted"] == 2


# The terminal


def test_keys_go_in_and_output_comes_out(agent, client, place):
    with Terminal(client, place[0]) as terminal:
        terminal.type(b"hello")
        assert agent.next("input") == "hello"
        assert terminal.shows(b"hellohello") == b"hellohello"
        everything = bytes(range(256)) * 64
        terminal.type(everything)
        assert terminal.shows(everything * 2).endswith(everything * 2)


def test_a_long_paste_goes_in_whole(agent, client, place):
    paste = b"0123456789abcdef" * (400 << 6)
    with Terminal(client, place[0]) as terminal:
        terminal.echoes(b"k")
        terminal.type(paste)
        assert terminal.shows(paste * 2).endswith(paste * 2)


def test_viewers_see_the_same(agent, client, place):
    with Terminal(client, place[0]) as one, Terminal(client, place[0]) as other:
        for terminal in (one, other):
            terminal.echoes(b"a")
        one.type(b"from-one.")
        other.shows(b"from-one.from-one.")
        other.type(b"from-other.")
        one.shows(b"from-other.from-other.")


def test_a_size_goes_to_the_kernel_as_a_command(agent, client, place):
    with Terminal(client, place[0]) as terminal:
        terminal.send(resize(30, 100))
        assert agent.next_command() == "%resize 30 100"
        terminal.send({"type": "ping"})
        assert agent.next_command() == "%ping"
        # The handshake, two orders, this call; keys count nothing.
        terminal.echoes(b"x")
        assert client.info(place[0]).json["numQueriesExecuted"] == 4


def test_what_is_not_understood_is_told_and_harms_nothing(client, place):
    with Terminal(client, place[0]) as terminal:
        for text, why in (
            ("{", "not JSON"),
            ("[]", "object"),
            ('{"type": "dance"}', "type"),
            ('{"type": "stdin", "chars": "%"}', "base64"),
            ('{"type": "resize", "rows": 0, "cols": 3}', "rows"),
        ):
            terminal.send(text)
            assert why in terminal.error()
        terminal.frame(BINARY, b"\x00")
        assert "text" in terminal.error()
        terminal.type(b"still")
        terminal.shows(b"stillstill")


@pytest.mark.parametrize(
    ("opcode", "payload", "options", "code"),
    [
        (TEXT, b"x" * ((1 << 20) + 1), {}, 1009),
        (TEXT, b"\xff\xfe", {}, 1007),
        (TEXT, b"{}", {"masked": False}, 1002),
        (3, b"", {}, 1002),
        (PING, b"x" * 126, {}, 1002),
    ],
)
def test_what_is_no_websocket_ends_it(client, place, opcode, payload, options, code):
    with Terminal(client, place[0]) as terminal:
        terminal.frame(opcode, payload, **options)
        assert terminal.closed()[0] == code


def test_long_messages_may_come_in_parts(client, place):
    with Terminal(client, place[0]) as terminal:
        terminal.frame(TEXT, b'{"type":"stdin",', final=False)
        terminal.frame(PING, b"between")
        assert terminal.receive_frame() == (PONG, b"between")
        terminal.frame(0, b'"chars":"YQ=="}')
        terminal.shows(b"aa")


def test_a_client_may_close(cluster, client, place):
    with Terminal(client, place[0]) as terminal:
        terminal.frame(CLOSE, b"\x03\xe8bye")
        assert terminal.receive_frame()[0] == CLOSE
        assert terminal.raw.is_closed()
    eventually(lambda: not open_streams(cluster))


def open_streams(cluster):
    return sum(cluster.metric("backendai_streams_open").values())


def test_the_rate_limit_holds_for_orders(cluster, agent):
    client = cluster.new_key(rate_limit=4)
    token, _ = agent.session(client)
    with Terminal(client, token) as terminal:
        for _ in range(3):
            terminal.send({"type": "ping"})
            assert agent.next_command() == "%ping"
        terminal.send({"type": "ping"})
        assert "rate limit" in terminal.error()
        # Keys are not limited.
        terminal.echoes(b"k")


def test_a_key_that_is_switched_off_orders_nothing(cluster, agent):
    client = cluster.new_key()
    token, _ = agent.session(client)
    execute = f"/v4/stream/kernel/{token}/execute"
    with Terminal(client, token) as terminal, Events(client, token) as events, WebSocket(client, execute) as run:
        terminal.echoes(b"k")
        run.send({"mode": "query", "runId": None, "code": "ask"})
        assert run.receive()["status"] == "waiting-input"
        cluster.sql(f"UPDATE keypairs SET rate_limit = 29999 WHERE access_key = '{client.access_key}'")
        terminal.echoes(b"l")
        cluster.sql(f"UPDATE keypairs SET is_active = false WHERE access_key = '{client.access_key}'")
        # Nothing is asked for: every stream hears of it.
        for stream in (terminal, run):
            code, messages = stream.closed()
            assert code == 1008 and "active" in messages[-1]["data"]
        assert events.event() is None


def test_an_agent_that_is_slow_to_answer_a_ping_lives(cluster):
    agent = TerminalAgent(cluster, "--slow-ping")
    try:
        assert [agent.next("call")[0] for _ in range(2)] == ["ping"] * 2
        assert cluster.sql(f"SELECT status FROM agents WHERE id = '{agent.id}'") == [["ALIVE"]]
    finally:
        agent.end()


# Clients that do not read


def resident(cluster):
    """KiB of all workers."""
    total = 0
    for pid in cluster.worker_pids():
        with open(f"/proc/{pid}/status") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return total


def test_a_viewer_that_does_not_read_stops_nobody_and_costs_little(cluster, agent, client, place):
    with Terminal(client, place[0]) as lazy, Terminal(client, place[0]) as keen:
        lazy.shrink()
        for terminal in (lazy, keen):
            terminal.echoes(b"l")
        before = resident(cluster)
        for _ in range(8):
            keen.type(b"flood 512")
            keen.shows(b"flooded")
        grown = resident(cluster) - before
        # 64 MiB were shown, and the lazy one has read nothing of it.
        assert grown < 4096, f"{grown} KiB"
        # It is still served: what it types goes in, and what it reads then goes on.
        lazy.type(b"awake")
        keen.shows(b"awakeawake")
        lazy.shows(b"x" * 1000)


def test_a_client_that_only_pings_costs_little(cluster, client, place):
    with Terminal(client, place[0]) as terminal:
        terminal.echoes(b"k")
        terminal.shrink()
        before = resident(cluster)
        terminal.raw.socket.setblocking(False)
        try:
            for _ in range(400_000):
                terminal.frame(PING, b"x" * 120)
        except BlockingIOError:
            pass
        time.sleep(0.5)
        assert resident(cluster) - before < 4096


# Kernels that do not read


def test_a_kernel_that_does_not_read_costs_little_and_takes_orders(cluster, client):
    """The way to it fills, then who types waits; what does not go that way goes on, and a restart helps."""
    agent = TerminalAgent(cluster, "--deaf")
    try:
        token, _ = agent.session(client)
        with Terminal(client, token) as terminal, Terminal(client, token) as other:
            other.send({"type": "ping"})
            assert agent.next_command() == "%ping"
            before = resident(cluster)
            terminal.raw.socket.settimeout(3)
            keys, typed = base64.b64encode(b"k" * 32768).decode(), 0
            with pytest.raises(TimeoutError):
                while typed < 64 << 20:
                    terminal.send({"type": "stdin", "chars": keys})
                    typed += 32768
            grown = resident(cluster) - before
            assert grown < 4096, f"{grown} KiB after {typed >> 10} KiB"
            other.send(resize(30, 100))
            assert agent.next_command() == "%resize 30 100"
            assert client.info(token).status == 200
            other.send({"type": "restart"})
            while agent.next("call")[0] != "restart_kernel":
                pass
            other.echoes(b"after.")
    finally:
        agent.end()


# Restarts and ends


def test_a_restart_moves_the_terminal(fresh, client):
    agent, token, _ = fresh
    with Terminal(client, token) as terminal, Terminal(client, token) as other:
        for one in (terminal, other):
            one.echoes(b"before")
        terminal.send({"type": "restart"})
        while agent.next("call")[0] != "restart_kernel":
            pass
        terminal.echoes(b"after.")
        other.echoes(b"later.")
        assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204
        other.echoes(b"again.")


def test_the_end_of_a_session_is_told(agent, client):
    token, _ = agent.session(client)
    with Terminal(client, token) as terminal:
        terminal.echoes(b"k")
        assert client.destroy(token).status == 200
        code, messages = terminal.closed()
    assert code == 1000 and messages[-1]["type"] == "error", messages
    assert "user-requested" in messages[-1]["data"] or "ended" in messages[-1]["data"]


def test_a_kernel_that_ends_by_itself_ends_its_terminals(fresh, client):
    _, token, kernel = fresh
    with Terminal(client, token) as terminal, Terminal(client, token) as other:
        for one in (terminal, other):
            one.echoes(b"k")
        terminal.type(b"die " + kernel.encode())
        for one in (terminal, other):
            code, messages = one.closed()
            assert code == 1000 and "ended" in messages[-1]["data"], messages


def test_an_agent_that_is_lost_ends_the_terminal(cluster, fresh, client):
    agent, token, _ = fresh
    with Terminal(client, token) as terminal:
        terminal.echoes(b"k")
        agent.process.kill()
        code, messages = terminal.closed()
        assert code == 1011 and "reached" in messages[-1]["data"], messages


@pytest.mark.parametrize("ports", [(0, 0), (1, 0)])
def test_a_session_without_a_terminal(agent, client, ports):
    token, _ = agent.session(client, ports=ports)
    with Terminal(client, token) as terminal:
        code, messages = terminal.closed()
    assert code == 1008 and "no terminal" in messages[-1]["data"], messages


def test_a_terminal_that_nobody_listens_for(cluster, client):
    mute = TerminalAgent(cluster, "--mute")
    try:
        token, _ = mute.session(client)
        with Terminal(client, token) as terminal:
            code, messages = terminal.closed()
        assert code == 1011 and "reached" in messages[-1]["data"], messages
    finally:
        mute.end()


def test_a_real_shell(client):
    token = client.started(lang="shell")
    with Terminal(client, token) as terminal:
        terminal.send(resize(33, 111))
        terminal.type(b"stty size; echo $((6 * 7))\n")
        terminal.shows(b"33 111")
        terminal.shows(b"42")
        terminal.type(b"x=kept\n")
        terminal.send({"type": "restart"})
        terminal.type(b"echo [$x]\n")
        terminal.shows(b"[]")
        assert client.destroy(token).status == 200
        assert terminal.closed()[0] == 1000


def test_one_viewer_too_many_is_told(client):
    """The agent's terminals have 32 viewers at most; the others are not disturbed, and there is room again later."""
    token = client.started(lang="shell")
    viewers = [Terminal(client, token) for _ in range(32)]
    try:
        for viewer in viewers:
            viewer.type(b"echo $((6 * 7))\n")
            viewer.shows(b"42")
        with Terminal(client, token) as late:
            code, messages = late.closed()
        assert code == 1013 and "viewers" in messages[-1]["data"], messages
        viewers[0].type(b"echo $((7 * 7))\n")
        for viewer in viewers:
            viewer.shows(b"49")
        viewers.pop().__exit__()
        with Terminal(client, token) as next_one:
            next_one.type(b"echo $((8 * 7))\n")
            next_one.shows(b"56")
    finally:
        for viewer in viewers:
            viewer.__exit__()


# Runs


def test_a_run_is_followed_to_its_end(agent, client, place):
    with WebSocket(client, f"/v4/stream/kernel/{place[0]}/execute") as socket:
        socket.send({"mode": "query", "runId": "run-1", "code": "long"})
        code, results = socket.closed()
    assert code == 1000
    assert [result["status"] for result in results] == ["continued"] * 3 + ["finished"]
    assert {result["runId"] for result in results} == {"run-1"}
    assert [result["console"][0][1] for result in results] == ["query:long"] + ["continue:"] * 3


def test_input_and_interrupts_go_in(agent, client, place):
    with WebSocket(client, f"/v4/stream/kernel/{place[0]}/execute") as socket:
        socket.send({"mode": "query", "runId": None, "code": "ask"})
        assert socket.receive()["status"] == "waiting-input"
        socket.send({"type": "interrupt"})
        while agent.next("call")[0] != "interrupt_kernel":
            pass
        socket.send({"type": "dance"})
        assert socket.receive()["type"] == "error"
        socket.send({"type": "input", "code": "Ann"})
        result = socket.receive()
        assert (result["status"], result["console"]) == ("finished", [["stdout", "input:Ann"]])
        assert socket.closed() == (1000, [])


def end(client, token):
    assert client.destroy(token).status == 200


def restart(client, token):
    assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204


@pytest.mark.parametrize("befalls", [end, restart])
def test_a_run_that_waits_for_input_ends_with_its_kernel(fresh, client, befalls):
    _, token, _ = fresh
    with WebSocket(client, f"/v4/stream/kernel/{token}/execute") as socket:
        socket.send({"mode": "query", "runId": "r", "code": "ask"})
        assert socket.receive()["status"] == "waiting-input"
        befalls(client, token)
        code, results = socket.closed()
    assert code == 1000 and [(it["runId"], it["status"], it["exitCode"]) for it in results] == [("r", "finished", 130)]


def test_a_status_that_nobody_understands_ends_a_run(client, place):
    with WebSocket(client, f"/v4/stream/kernel/{place[0]}/execute") as socket:
        socket.send({"mode": "query", "runId": "r", "code": "odd"})
        code, results = socket.closed()
    assert code == 1011 and results[0]["status"] == "dancing" and results[1]["type"] == "error", results


def test_a_client_that_names_no_run_brings_lines(agent, client, place):
    """As release 18.12 of the Python client does: the stream is the run, and input is a text and nothing else."""
    with WebSocket(client, f"/v4/stream/kernel/{place[0]}/execute") as socket:
        socket.send({"code": "ask", "mode": "query", "options": {}})
        assert socket.receive()["status"] == "waiting-input"
        socket.send('{"type": "interrupt"}')
        result = socket.receive()
        assert (result["status"], result["console"]) == ("finished", [["stdout", 'input:{"type": "interrupt"}']])
        assert socket.closed() == (1000, [])


def test_a_run_on_a_real_kernel(client, session):
    with WebSocket(client, f"/v4/stream/kernel/{session}/execute") as socket:
        code = "import time\nfor n in range(4):\n    print(n, flush=True)\n    time.sleep(1)\nprint(input('? '))"
        socket.send({"mode": "query", "runId": None, "code": code})
        console = []
        while (result := socket.receive())["status"] == "continued":
            console += result["console"]
        assert result["status"] == "waiting-input"
        socket.send({"type": "input", "code": "Bob"})
        close, results = socket.closed()
    for result in [result, *results]:
        console += result["console"]
    assert close == 1000 and results[-1]["status"] == "finished"
    assert "".join(text for _, text in console) == "0\n1\n2\n3\n? Bob\n"


def test_version_1_has_flat_results(client, session):
    with WebSocket(client, f"/v1/stream/kernel/{session}/execute") as socket:
        socket.send({"code": "print(1)"})
        code, results = socket.closed()
    assert (code, results[-1]["stdout"]) == (1000, "1\n"), results


@pytest.mark.parametrize("body", ["{", "[]", '{"mode": "bogus"}', '{"mode": "continue", "code": ""}'])
def test_a_run_that_is_malformed(client, place, body):
    with WebSocket(client, f"/v4/stream/kernel/{place[0]}/execute") as socket:
        socket.send(body)
        code, messages = socket.closed()
    assert code == 1008 and messages[-1]["type"] == "error", messages


def test_a_run_over_the_rate_limit_may_come_again_later(cluster, agent):
    client = cluster.new_key(rate_limit=1)
    token, _ = agent.session(client)
    with WebSocket(client, f"/v4/stream/kernel/{token}/execute") as socket:
        socket.send({"mode": "query", "runId": None, "code": "1"})
        code, messages = socket.closed()
    assert code == 1013 and "rate limit" in messages[-1]["data"], messages


def test_the_end_of_a_session_ends_its_run(client, session):
    with WebSocket(client, f"/v4/stream/kernel/{session}/execute") as socket:
        socket.send({"mode": "query", "runId": None, "code": "import time; time.sleep(60)"})
        assert socket.receive()["status"] == "continued"
        assert client.destroy(session).status == 200
        code, results = socket.closed()
    assert code == 1000 and (not results or results[-1]["exitCode"] == 130 or "type" in results[-1]), results


# Events


def test_events_are_told(fresh, client):
    _, token, _ = fresh
    with Events(client, token) as events:
        assert events.headers["content-type"] == "text/event-stream"
        assert events.headers["cache-control"] == "no-cache"
        assert set(events.first) == {"retry", "id"}
        assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204
        assert events.event() == ("restarted", {"kernelId": token, "reason": "user-requested"})
        assert client.destroy(token).status == 200
        assert events.event() == ("terminated", {"kernelId": token, "reason": "user-requested"})
        assert events.event() is None


def test_a_kernel_that_ends_by_itself_is_told(fresh, client):
    _, token, kernel = fresh
    with Events(client, token) as events, Terminal(client, token) as terminal:
        terminal.type(b"die " + kernel.encode())
        assert events.event() == ("terminated", {"kernelId": token, "reason": "self-terminated"})


def test_what_was_missed_comes_first(fresh, client):
    _, token, _ = fresh
    with Events(client, token) as events:
        at = events.id
    for _ in range(2):
        assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204
    with Events(client, token, last=at) as events:
        seen = [(events.event()[0], events.id) for _ in range(2)]
    assert [name for name, _ in seen] == ["restarted"] * 2 and seen[0][1] != seen[1][1]
    with Events(client, token, last=seen[0][1]) as events:
        assert (events.event()[0], events.id) == ("restarted", seen[1][1])
    # One who was never there misses nothing.
    with Events(client, token) as events:
        assert events.id == seen[1][1]
    client.destroy(token)
    with Events(client, token, last=at) as events:
        names = [events.event() for _ in range(4)]
    assert [name and name[0] for name in names] == ["restarted", "restarted", "terminated", None]
    assert client.signed("GET", f"/v4/stream/kernel/{token}/events").problem == (404, "kernel-not-found")


def test_a_page_goes_on_with_another_ticket(fresh, client):
    _, token, _ = fresh
    with Events(client, token, ticket=ticket(client)) as events:
        at = events.id
    assert client.signed("PATCH", f"/v4/kernel/{token}").status == 204
    for query in (f"last_event_id={at}", f"x=1&last_event_id={at}"):
        with Events(client, token, ticket=ticket(client), query=query) as events:
            assert events.event()[0] == "restarted"


def test_events_are_their_owners(cluster, client, place):
    target = f"/v4/stream/kernel/{place[0]}/events"
    assert cluster.new_key().signed("GET", target).problem == (404, "kernel-not-found")
    assert client.plain("GET", target).problem == (401, "auth-failed")
    headers = {"Last-Event-ID": "0-0"}
    assert cluster.new_key().signed("GET", target, headers=headers).problem == (404, "kernel-not-found")


# Tickets


def ticket(client, body=None):
    answer = client.signed("POST", "/v4/auth/ticket", body)
    assert answer.status == 200 and answer.json["expires_in"] == 30, answer
    return answer.json["ticket"]


def test_a_ticket_opens_one_stream_once(client, place):
    name = ticket(client)
    target = f"{pty(place[0])}?_auth={name}"
    with WebSocket(client, target, signed=False) as socket:
        socket.send({"type": "bogus"})
        assert socket.receive()["type"] == "error"
        assert request(client, target, signed=False)[1].problem == (401, "auth-failed")


def test_a_ticket_opens_events(client, place):
    with Events(client, place[0], ticket=ticket(client)) as events:
        assert events.id


def test_a_ticket_may_be_for_one_path(client, place):
    path = pty(place[0])
    other = f"/v4/stream/kernel/{place[0]}/execute"
    name = ticket(client, {"path": path})
    assert request(client, f"{other}?_auth={name}", signed=False)[1].problem == (401, "auth-failed")
    name = ticket(client, {"path": path})
    assert request(client, f"{path}?_auth={name}", signed=False)[1].status == 101
    for wrong in ("/v4/kernel/x", "nonsense", 7):
        answer = client.signed("POST", "/v4/auth/ticket", {"path": wrong})
        assert answer.problem == (400, "invalid-api-params") and "path" in answer.json["title"], answer


def test_a_ticket_is_nobody_elses(cluster, client, place):
    stranger = cluster.new_key()
    target = f"{pty(place[0])}?_auth={ticket(stranger)}"
    assert request(client, target, signed=False)[1].problem == (404, "kernel-not-found")
    for made_up in ("", "0" * 32, "../x"):
        target = f"{pty(place[0])}?_auth={made_up}"
        assert request(client, target, signed=False)[1].problem == (401, "auth-failed")


def test_a_ticket_opens_nothing_but_streams(client, session):
    name = ticket(client)
    assert client.plain("GET", f"/v4/kernel/{session}?_auth={name}").problem == (401, "auth-failed")
    assert client.plain("POST", "/v4/auth/ticket").problem == (401, "auth-failed")


def test_a_ticket_of_a_key_that_is_switched_off(cluster, client, place):
    name = ticket(client)
    cluster.sql(f"UPDATE keypairs SET is_active = false WHERE access_key = '{client.access_key}'")
    try:
        eventually(lambda: client.info(place[0]).status == 401)
        target = f"{pty(place[0])}?_auth={name}"
        assert request(client, target, signed=False)[1].problem == (401, "auth-failed")
    finally:
        cluster.sql(f"UPDATE keypairs SET is_active = true WHERE access_key = '{client.access_key}'")
        eventually(lambda: client.info(place[0]).status == 200)


def test_a_ticket_that_is_too_old(cluster, client, place):
    name = ticket(client)
    host, port = cluster.settings["BACKEND_REDIS_ADDR"].split(":")
    redis_cli = ["redis-cli", "-h", host, "-p", port, "-n", "1"]
    key = f"backendai:local:ticket:{hashlib.sha256(name.encode()).hexdigest()}"
    left = int(subprocess.check_output([*redis_cli, "TTL", key]))
    assert 0 < left <= 30
    assert subprocess.check_output([*redis_cli, "PEXPIRE", key, "1"]).strip() == b"1"
    eventually(lambda: subprocess.check_output([*redis_cli, "EXISTS", key]).strip() == b"0")
    target = f"{pty(place[0])}?_auth={name}"
    assert request(client, target, signed=False)[1].problem == (401, "auth-failed")


# Workers that end


def test_a_worker_that_drains_sends_its_streams_away(cluster, agent, client, place, session):
    old = set(cluster.worker_pids())
    execute = f"/v4/stream/kernel/{session}/execute"
    with Terminal(client, place[0]) as terminal, WebSocket(client, execute) as run, Events(client, session) as events:
        terminal.echoes(b"k")
        run.send({"mode": "query", "runId": "r", "code": "input()"})
        assert run.receive()["status"] == "waiting-input"
        os.kill(cluster.pid("gateway"), signal.SIGHUP)
        code, messages = terminal.closed()
        assert code == 1001 and "connect again" in messages[-1]["data"], messages
        assert run.closed()[0] == 1001
        assert events.event() is None
        at = events.id
    # Whoever connects again goes on where it was.
    with Terminal(client, place[0]) as terminal:
        terminal.echoes(b"n")
    with WebSocket(client, execute) as run:
        run.send({"mode": "input", "runId": "r", "code": "line"})
        assert run.closed()[0] == 1000
    with Events(client, session, last=at) as events:
        client.destroy(session)
        assert events.event()[0] == "terminated"
    eventually(lambda: len(cluster.worker_pids()) == 2 and not old & set(cluster.worker_pids()), seconds=60)
    eventually(lambda: not open_streams(cluster))


def test_streams_live_without_redis(own_cluster):
    """What Redis would tell, the end of the kernel's connections tells too."""
    agent = TerminalAgent(own_cluster)
    try:
        client = own_cluster.new_key()
        token, _ = agent.session(client)
        with Terminal(client, token) as terminal:
            terminal.echoes(b"k")
            with own_cluster.without("redis"):
                terminal.echoes(b"r")
            own_cluster.ready()
            assert client.destroy(token).status == 200
            assert terminal.closed()[0] == 1000
    finally:
        agent.end()


def test_events_that_come_after_redis_was_away(own_cluster):
    client = own_cluster.new_key()
    token = client.started()
    with Events(client, token) as events:
        with own_cluster.without("redis"):
            pass
        own_cluster.ready()
        assert client.destroy(token).status == 200
        assert events.event() == ("terminated", {"kernelId": token, "reason": "user-requested"})
