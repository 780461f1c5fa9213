"""Sessions with a terminal, on the agent of tests/peers/terminal_agent.py."""

import json
import os
import queue
import subprocess
import threading
import uuid

from api import new_token
from cluster import ROOT


class TerminalAgent:
    """The agent in a process of its own, known to the gateway, too small for anybody else's sessions."""

    def __init__(self, cluster, *options):
        self.cluster, self.id = cluster, "i-terminal-" + uuid.uuid4().hex[:8]
        events = "127.0.0.1:" + cluster.settings["BACKEND_EVENTS_PORT"]
        command = ["setpriv", "--pdeathsig", "KILL", "--", python(), str(ROOT / "tests/peers/terminal_agent.py")]
        self.process = subprocess.Popen([*command, "--events", events, *options], stdout=subprocess.PIPE, text=True)
        self.happened = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        start = self.happened.get(timeout=30)
        self.port, self.ports = start["agent"], start["ports"]
        cluster.sql(
            "INSERT INTO agents (id, status, region, mem_slots, cpu_slots, gpu_slots, used_mem_slots, used_cpu_slots,"
            f" used_gpu_slots, addr) VALUES ('{self.id}', 'ALIVE', 'local', 1, 1, 0, 0, 0, 0,"
            f" 'tcp://127.0.0.1:{self.port}')"
        )

    def listen(self):
        for line in self.process.stdout:
            self.happened.put(json.loads(line))

    def end(self):
        """Ends it and takes it out of the database's list."""
        self.process.kill()
        self.process.wait()
        self.cluster.sql(
            f"UPDATE agents SET status = 'TERMINATED' WHERE id = '{self.id}';"
            f" SELECT backendai_session_finish(id, 'TERMINATED', 'test', '{{}}') FROM kernels WHERE agent = '{self.id}'"
        )

    def session(self, client, *, ports=None):
        """(name, kernel id) of a new session of `client` on this agent."""
        token, kernel = new_token(), str(uuid.uuid4())
        stdin, stdout = ports or self.ports
        [[outcome]] = self.cluster.sql(
            f"SELECT backendai_session_reserve('{kernel}', '{token}', '{client.access_key}', 'terminal:1', '{self.id}',"
            " 0, 0, 0, '{}', NULL, 'test')"
        )
        assert outcome == "ok"
        self.cluster.sql(
            f"UPDATE kernels SET status = 'RUNNING', container_id = 'c', cpu_set = '{{0}}', stdin_port = {stdin},"
            f" stdout_port = {stdout} WHERE id = '{kernel}'"
        )
        return token, kernel

    def next(self, kind):
        """What happens next of one kind: `input` or `call`; what was before is forgotten."""
        while True:
            happened = self.happened.get(timeout=30)
            if kind in happened:
                return happened[kind]

    def next_command(self):
        """The code of the next `execute` call."""
        while (call := self.next("call"))[0] != "execute":
            pass
        assert call[4] == "query", call
        return call[5]


def python():
    """A Python that has pyzmq and msgpack."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    os.makedirs(target, exist_ok=True)
    done = subprocess.run([ROOT / "tests/peers/venv.sh", target], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
