"""./dev itself: what a person does with a cluster that runs."""

import json
import os
import shlex
import subprocess

from api import Client, new_token
from cluster import DEV, ROOT


def dev(*arguments, status=0, **environment):
    """Runs ./dev; returns what it said."""
    done = subprocess.run(
        [DEV, *arguments], env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_help():
    text = dev("--help")
    for command in ("up", "test", "bench", "clean", "curl"):
        assert f"\n  {command} " in text


def test_misuse_is_named():
    assert "bogus" in dev("bogus", status=2)
    assert "--bogus" in dev("up", "--bogus", status=2)
    assert "many" in dev("up", "--ports", "many", status=2)


def test_a_second_up_on_the_same_data_is_refused(cluster):
    said = dev("up", "--data", str(cluster.data), status=1, DEV_BIN="/nonexistent")
    assert f"another ./dev up runs on {cluster.data} (pid {cluster.up.pid})" in said
    assert "end it first" in dev("clean", "--data", str(cluster.data), "--yes", status=1)


def test_a_pid_file_that_is_stale_is_no_obstacle_and_one_that_lives_is(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "redis.pid").write_text("999999 1\n")
    assert "ended" in dev("down", "--data", str(tmp_path))
    assert not (tmp_path / "run" / "redis.pid").exists()
    with subprocess.Popen(["sleep", "60"]) as process:
        started = (f"/proc/{process.pid}/stat", 19)
        with open(started[0]) as stat:
            start_time = stat.read().rpartition(")")[2].split()[started[1]]
        (tmp_path / "run" / "redis.pid").write_text(f"{process.pid} {start_time}\n")
        said = dev("up", "--data", str(tmp_path), status=1, DEV_BIN="/nonexistent")
        assert f"redis (pid {process.pid})" in said and "./dev down" in said
        dev("down", "--data", str(tmp_path))
        assert process.wait(timeout=10) != 0


def test_curl_signs(cluster):
    token = new_token()
    data = ("--data", str(cluster.data))
    said = dev("curl", *data, "POST", "/v4/kernel/create", json.dumps({"lang": "python", "clientSessionToken": token}))
    assert said.startswith("HTTP/1.1 201 ") and token in said
    assert dev("curl", *data, "DELETE", f"/v4/kernel/{token}").startswith("HTTP/1.1 200 ")
    assert dev("curl", *data, "GET", f"/v4/kernel/{token}", status=22).startswith("HTTP/1.1 404 ")


def test_the_printed_curl_command_is_right(cluster):
    printed = dev("curl", "--data", str(cluster.data), "--print", "GET", "/v4/auth", '{"echo": "it\'s"}')
    command = shlex.split(printed)
    assert command[:4] == ["curl", "-i", "-X", "GET"] and command[-1] == cluster.endpoint + "/v4/auth"
    headers = dict(text.split(": ", 1) for flag, text in zip(command, command[1:], strict=False) if flag == "-H")
    body = command[command.index("--data-binary") + 1].encode()
    answer = Client(cluster.endpoint).plain("GET", "/v4/auth", body, headers)
    assert answer.json == {"authorized": "yes", "echo": "it's"}, answer


def test_the_fixtures_of_the_repository_are_there():
    assert {"images.yml", "image-aliases.yml"} <= {path.name for path in (ROOT / "fixtures").iterdir()}
