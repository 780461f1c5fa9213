"""A whole private cluster for tests, started by ./dev up, the way a person starts it."""

import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from api import Client, eventually

ROOT = Path(__file__).resolve().parents[2]
DEV = str(ROOT / "dev")
START_LIMIT = 180  # seconds; the programs are built before


def programs():
    """The folder with the three programs: as ./dev test says, or what `cargo build` made last."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("DEV_BIN", target / "debug"))


class Cluster:
    """PostgreSQL, Redis, etcd, gateway and agent with their data in a folder of their own."""

    running = set()

    def __init__(self, **environment):
        self.data = Path(tempfile.mkdtemp(prefix="backendai-"))
        self.log = self.data / "up.log"
        settings = {"DEV_BIN": str(programs()), "DEV_FSYNC": "off", "BACKEND_WORKERS": "2"}
        settings |= {"BACKEND_SLOTS": "cpu=64,mem=262144,gpu=0", **environment}
        # setpriv ends ./dev up, and with it everything, where the tests themselves are killed.
        command = ["setpriv", "--pdeathsig", "TERM", "--", DEV, "up", "--no-demo", "--data", str(self.data)]
        command += ["--ports", str(random.randrange(21000, 31000, 10))]
        with self.log.open("wb") as log:
            self.up = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
        self.running.add(self)
        try:
            self.await_ready()
        except BaseException:
            self.close()
            raise
        self.settings = read_settings(self.data / "env")
        self.endpoint = self.settings["BACKEND_ENDPOINT"]

    def await_ready(self):
        """Returns when ./dev up has said that it is ready; it says why where it cannot."""
        deadline = time.monotonic() + START_LIMIT
        while "Ctrl-C ends everything" not in self.log.read_text():
            assert self.up.poll() is None, f"./dev up ended: {self.log.read_text()}\n{self.logs()}"
            assert time.monotonic() < deadline, f"./dev up is not ready: {self.log.read_text()}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self, lines=15):
        """The ends of all logs, for a failure's message."""
        ends = []
        for log in sorted((self.data / "log").glob("*.log")):
            ends.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(ends)

    def told_since(self, moment, lines=80):
        """The last lines of the gateway's log since a moment (of time.time()), without those of requests."""
        since = datetime.fromtimestamp(moment, UTC).isoformat()
        log = self.data / "log" / "gateway.log"
        written = log.read_text(errors="replace").splitlines() if log.exists() else []
        told = [line for line in written if line[14:40] >= since[:26] and '"message":"request"' not in line]
        return "\n".join(told[-lines:])

    def close(self):
        """Ends everything in the order of ./dev up and removes the data."""
        self.running.discard(self)
        if self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
        self.up.wait(timeout=120)
        subprocess.run([DEV, "down", "--data", str(self.data)], check=False, capture_output=True, timeout=120)
        # PostgreSQL's data is elsewhere, behind a link, where its user may not enter ours.
        shutil.rmtree((self.data / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    # Clients

    def client(self, **options):
        """A client with the example key pair, which is an admin's."""
        key = self.settings["BACKEND_ACCESS_KEY"], self.settings["BACKEND_SECRET_KEY"]
        return Client(self.endpoint, *key, **options)

    def new_key(self, *, concurrency_limit=30, rate_limit=30000, is_active=True, is_admin=False):
        """A client with a new key pair, written by SQL as an operator would."""
        access_key, secret_key = "AKIATEST" + secrets.token_hex(6).upper(), secrets.token_hex(20)
        self.sql(
            "INSERT INTO keypairs (user_id, access_key, secret_key, is_active, is_admin, resource_policy,"
            " concurrency_limit, concurrency_used, rate_limit, num_queries) VALUES"
            f" (77, '{access_key}', '{secret_key}', {is_active}, {is_admin}, 'default',"
            f" {concurrency_limit}, 0, {rate_limit}, 0)"
        )
        return Client(self.endpoint, access_key, secret_key)

    # The stores

    def sql(self, statement, database=None):
        """Runs SQL by psql; returns rows as lists of texts."""
        environment = {**os.environ, "PGPASSWORD": self.settings["BACKEND_DB_PASSWORD"]}
        host, port = self.settings["BACKEND_DB_ADDR"].split(":")
        command = ["psql", "-X", "-q", "-t", "-A", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", port]
        command += ["-U", self.settings["BACKEND_DB_USER"], "-d", database or self.settings["BACKEND_DB_NAME"]]
        done = subprocess.run([*command, "-c", statement], env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def etcd(self, *arguments):
        """etcdctl on a key of the namespace: ("get", key), ("put", key, value), ("del", key); returns lines."""
        action, key, *rest = arguments
        command = ["etcdctl", "--endpoints", self.settings["BACKEND_ETCD_ADDR"], action, f"/sorna/local/{key}", *rest]
        done = subprocess.run(
            command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.splitlines()

    def redis(self, *command, db=1):
        """redis-cli on a database, that of limits and the ledger where none is given; returns its answer's text."""
        host, _, port = self.settings["BACKEND_REDIS_ADDR"].rpartition(":")
        done = subprocess.run(
            ["redis-cli", "-h", host, "-p", port, "-n", str(db), *command],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.strip()

    def image(self, alias):
        """(name, tag) of what an alias, or an image's own name, stands for."""
        found = self.etcd("get", f"images/_aliases/{alias}", "--print-value-only")
        name, _, tag = (found[0] if found else alias).partition(":")
        return name, tag or "latest"

    def other_image(self, alias):
        """`name:tag` of some known image that the alias does not stand for."""
        keys = self.etcd("get", "images/", "--prefix", "--keys-only")
        pairs = (re.fullmatch(r"/sorna/local/images/([^/_]+)/tags/(.+)", key) for key in keys)
        return next(f"{pair[1]}:{pair[2]}" for pair in pairs if pair and pair[1] != self.image(alias)[0])

    # Processes

    def pid(self, name):
        """The process of postgres, redis, etcd, gateway or agent."""
        return int((self.data / "run" / f"{name}.pid").read_text().split()[0])

    def runs(self, name):
        """Whether that process is there still."""
        return is_running(self.pid(name))

    @contextmanager
    def without(self, name):
        """Ends one process for the time of a block, and starts it again."""
        self.dev("stop", name)
        try:
            yield
        finally:
            self.dev("start", name)

    def dev(self, command, *arguments):
        """./dev COMMAND on this cluster; its output goes to a file, since a server it starts keeps it open."""
        with (self.data / "dev.log").open("wb") as log:
            done = subprocess.run([DEV, command, "--data", str(self.data), *arguments], stdout=log, stderr=log, timeout=120)
        assert done.returncode == 0, (command, arguments, (self.data / "dev.log").read_text())

    def program(self, name, *arguments, **environment):
        """Runs one of the programs to its end with this cluster's settings; returns the finished process."""
        return subprocess.run(
            [programs() / name, *arguments],
            env={**os.environ, **self.settings, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    # What operators see

    def await_log(self, name, text):
        """Waits until a process has logged something."""
        log = self.data / "log" / f"{name}.log"
        eventually(lambda: text in log.read_text(errors="replace"))

    def operators(self):
        """A client of the operator's listener."""
        return Client(f"http://127.0.0.1:{self.settings['BACKEND_ADMIN_PORT']}")

    def admin(self, path):
        """GET on the operator's listener: (status, text)."""
        url = f"http://127.0.0.1:{self.settings['BACKEND_ADMIN_PORT']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def workers(self):
        """What /workers says: one object per worker."""
        status, text = self.admin("/workers")
        assert status == 200, text
        return json.loads(text)

    def worker_pids(self):
        """The pids of the workers: the gateway's children that run."""
        gateway = self.pid("gateway")
        children = Path(f"/proc/{gateway}/task/{gateway}/children").read_text().split()
        return sorted(int(pid) for pid in children if is_running(int(pid)))

    def metric(self, name, **labels):
        """The samples of one metric that have these labels: {labels as written: value}."""
        found = {}
        for line in self.admin("/metrics")[1].splitlines():
            match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)", line)
            wanted = (f'{key}="{value}"' for key, value in labels.items())
            if match and match[1] == name and all(label in (match[2] or "") for label in wanted):
                found[match[2] or ""] = float(match[3])
        return found

    def ready(self):
        """Waits until /readyz says 200, asked often enough that every worker has answered."""
        eventually(lambda: all(self.admin("/readyz")[0] == 200 for _ in range(16)), seconds=30)


def read_settings(path):
    """KEY=VALUE lines as bash's printf %q wrote them."""
    text = subprocess.run(
        ["bash", "-c", 'set -a; . "$1"; env -0', "bash", str(path)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    pairs = (item.partition("=") for item in text.split("\0") if item)
    return {key: value for key, _, value in pairs if key.startswith(("BACKEND_", "DEV_"))}


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
