"""Agents of old releases beside, or instead of, a cluster's own."""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

from api import eventually
from cluster import ROOT
from ports import free_ports


class OldAgent:
    """tests/peers/old_agent.py of a release, known to the gateway."""

    def __init__(self, cluster, release):
        self.cluster, self.release, self.id = cluster, release, f"i-old-{release}"
        self.port = free_ports(random.randrange(20000, 31000), 1)[0]
        self.faults_file = cluster.data / f"{self.id}.faults"
        self.calls_file = cluster.data / f"{self.id}.calls"
        self.calls_file.touch()
        command = ["setpriv", "--pdeathsig", "KILL", "--", python(), str(ROOT / "tests/peers/old_agent.py")]
        command += ["--release", release, "--etcd", cluster.settings["BACKEND_ETCD_ADDR"], "--port", str(self.port)]
        command += ["--id", self.id, "--faults", str(self.faults_file), "--calls", str(self.calls_file)]
        with (cluster.data / "log" / f"{self.id}.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: self.status() == "ALIVE", seconds=30)

    def status(self):
        """Of its row in PostgreSQL; None where there is none yet."""
        rows = self.cluster.sql(f"SELECT status FROM agents WHERE id = '{self.id}'")
        return rows[0][0] if rows else None

    def end(self):
        """Ends it as an operator would; the gateway hears of it."""
        self.fail()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        eventually(lambda: self.status() == "TERMINATED")

    def fail(self, **faults):
        """From now on these methods fail as said, and no others: hang, exception, malformed, nonsense, close."""
        fresh = self.faults_file.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.rename(self.faults_file)

    def calls(self, method):
        """The calls of a method so far: [{method, args, executing}, …]."""
        calls = map(json.loads, self.calls_file.read_text().splitlines())
        return [call for call in calls if call["method"] == method]

    def file(self, kernel, name):
        """Where a file of a kernel is."""
        return next(Path("/tmp").glob(f"old-agent-*/{kernel}")) / name


def python():
    """A Python that has pyzmq and msgpack."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([ROOT / "tests/peers/venv.sh", target], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
