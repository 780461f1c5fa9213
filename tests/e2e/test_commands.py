"""The commands to a running gateway, by the program itself: what they print and which status they end with."""

import json
import socket
import subprocess

import pytest

from api import eventually
from cluster import programs


@pytest.fixture
def gateway(cluster):
    """Runs a command: (status, output, errors)."""

    def gateway(*arguments, **settings):
        done = cluster.program("backendai-gateway", *arguments, **settings)
        return done.returncode, done.stdout, done.stderr

    return gateway


@pytest.fixture
def nowhere(tmp_path):
    """Where no gateway has its socket."""
    return {"BACKEND_CONTROL_SOCKET": str(tmp_path / "none.sock")}


def workers(gateway):
    code, text, _ = gateway("status", "--output", "json")
    assert code == 0
    return json.loads(text)["workers"]


def test_status(cluster, gateway):
    assert sorted(worker["pid"] for worker in workers(gateway)) == cluster.worker_pids()
    code, text, errors = gateway("status")
    assert (code, errors) == (0, "")
    assert text.startswith("state ") and all(f" {pid} " in text for pid in cluster.worker_pids())
    assert gateway("status", "--output", "xml")[0] == 2


def test_resize(cluster, gateway):
    assert gateway("resize", "3")[0] == 0
    try:
        eventually(lambda: [worker["state"] for worker in workers(gateway)] == ["ready"] * 3)
    finally:
        assert gateway("resize", "2")[0] == 0
    eventually(lambda: len(cluster.worker_pids()) == 2)
    for bad in ("0", "1025", "many"):
        code, _, errors = gateway("resize", bad)
        assert code == 2 and bad in errors and len(errors.splitlines()) == 1, errors


def test_reload_returns_when_all_workers_are_replaced(cluster, gateway):
    before = cluster.worker_pids()
    code, text, errors = gateway("reload")
    assert (code, errors) == (0, "") and "replaced" in text
    assert not set(before) & {worker["pid"] for worker in workers(gateway) if worker["state"] == "ready"}
    eventually(lambda: len(cluster.worker_pids()) == 2)


def test_the_options_of_the_running_gateway(cluster, gateway):
    code, text, _ = gateway("config", "show", BACKEND_SERVICE_PORT="1")
    assert code == 0
    assert f'service-port = "{cluster.settings["BACKEND_SERVICE_PORT"]}"  # environment' in text
    assert "drain-timeout = \"30\"  # default" in text
    assert cluster.settings["BACKEND_DB_PASSWORD"] not in text
    assert gateway("config", "check")[0] == 0


def test_the_options_without_a_gateway(gateway, nowhere, tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("max-body = 7")
    code, text, _ = gateway("--config", str(file), "config", "show", **nowhere)
    assert code == 0 and 'max-body = "7"  # file' in text
    assert gateway("--config", str(file), "config", "check", **nowhere)[0] == 0
    file.write_text("max-bodi = 7")
    code, _, errors = gateway("--config", str(file), "config", "check", **nowhere)
    assert code == 2 and "max-bodi" in errors and len(errors.splitlines()) == 1
    code, _, errors = gateway("--cpus", "1023", "config", "check", **nowhere)
    assert code == 1 and "core 1023" in errors


def test_no_gateway(gateway, nowhere):
    for command in (["status"], ["reload"], ["drain"], ["resize", "2"]):
        code, _, errors = gateway(*command, **nowhere)
        assert code == 1 and "no gateway answers" in errors and len(errors.splitlines()) == 1, errors


def test_a_gateway_that_was_started_from_another_environment(cluster, tmp_path):
    """Its socket is in the temporary folder, as it had no other; an operator's shell has one of its own."""
    own, shared = tmp_path / "user", tmp_path / "tmp"
    own.mkdir()
    shared.mkdir()
    (shared / "elsewhere-gateway.sock").symlink_to(cluster.settings["BACKEND_CONTROL_SOCKET"])
    done = subprocess.run(
        [programs() / "backendai-gateway", "--namespace", "elsewhere", "status"],
        env={"XDG_RUNTIME_DIR": str(own), "TMPDIR": str(shared)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stdout.startswith("state "), done


def test_drain_ends_it(own_cluster):
    assert own_cluster.program("backendai-gateway", "drain").returncode == 0
    eventually(lambda: not own_cluster.runs("gateway"), seconds=60)
    with pytest.raises(OSError), socket.create_connection(own_cluster.client().host.split(":"), timeout=10):
        pass
