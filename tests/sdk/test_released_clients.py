"""The clients that users have installed for years, unchanged, against this gateway.

./dev test says in CLIENT_RELEASES which are installed, each under a Python of its time:
`1.0.6=/path/to/python 1.3.7=…`. The releases differ in what they send: 1.0.6 speaks v2 and knows neither
`continue` nor `input`, and needs Content-Length on every answer; 1.3.7 speaks v2 and signs in `/v2`;
1.5.1 speaks v4 without a prefix and signs no body. All send nulls in `config`.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from workplace import CLIENTS

USAGE = Path(__file__).with_name("usage.py")


@pytest.fixture(scope="module")
def environment(cluster):
    """Endpoint and key pair as the clients read them."""
    key = cluster.new_key()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(cluster.data),
        "LC_ALL": "C.UTF-8",
        "BACKEND_ENDPOINT": cluster.endpoint,
        "BACKEND_ACCESS_KEY": key.access_key,
        "BACKEND_SECRET_KEY": key.secret_key,
    }


@pytest.fixture(scope="module")
def told(release, environment):
    """What usage.py saw."""
    done = subprocess.run(
        [CLIENTS[release], str(USAGE), release], env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def text_of(run, stream="stdout"):
    return "".join(data for name, data in run[1] if name == stream)


def test_a_session_is_created_once(told, release):
    assert told["kernel_id"] == told["token"]
    if release != "1.0.6":  # which does not look
        assert (told["created"], told["again"]) == (True, False)


def test_variables_live_on(told):
    assert told["assign"] == [["finished"], []]
    assert told["variable"] == [["finished"], [["stdout", "42\n"]]]


def test_output_is_in_order(told):
    lines = [(stream, line) for stream, data in told["order"][1] for line in data.splitlines()]
    assert lines == [(("stdout", "stderr")[n % 2], str(n)) for n in range(6)]


def test_a_long_run_is_followed(told):
    assert told["long"][0][0] == "continued" and told["long"][0][-1] == "finished"
    assert text_of(told["long"]) == "late\n"


def test_input_is_brought(told):
    assert "waiting-input" in told["input"][0]
    assert text_of(told["input"]).endswith("Hi Ann\n")


def test_errors_of_code_are_output(told):
    assert "ZeroDivisionError" in text_of(told["error"], "stderr")


def test_info(told):
    assert told["info"]["numQueriesExecuted"] >= 8 and told["info"]["idle"] == -1


def test_destroy(told):
    assert set(told["destroyed"]) == {"stats"}
    assert told["after"] == [404, "https://api.backend.ai/probs/kernel-not-found"]


def test_problems_are_understood(told):
    assert told["unknown_image"] == [404, "https://api.backend.ai/probs/image-not-found"]


# The command line


def command(release, environment, *arguments, **options):
    """backend.ai with these arguments."""
    program = Path(CLIENTS[release]).with_name("backend.ai")
    return subprocess.run(
        [str(program), *arguments], env=environment, capture_output=True, text=True, timeout=100, **options
    )


def ending(release):
    """Options that end the session with the run; 1.0.6 always does."""
    return [] if release == "1.0.6" else ["--rm"]


def test_run_prints_what_the_code_prints(release, environment):
    done = command(release, environment, "run", "-q", *ending(release), "python", "-c", "print(1+1)")
    assert (done.returncode, done.stdout) == (0, "2\n"), done


def test_run_asks_for_input(release, environment):
    code = "print('Hi', input('? '))"
    done = command(release, environment, "run", "-q", *ending(release), "python", "-c", code, input="Ann\n")
    assert done.returncode == 0 and "Hi Ann\n" in done.stdout, done


def test_run_shows_statistics(release, environment):
    done = command(release, environment, "run", *ending(release), "-s", "python", "-c", "print(3)")
    assert done.returncode == 0 and "3\n" in done.stdout and "Cleaned up" in done.stdout + done.stderr, done


def test_resources_and_environment_come_as_text(release, environment):
    """1.3.7 sends `environ`, later ones also amounts as texts: `-r cpu=1` is "1"."""
    if release == "1.0.6":
        options = []
    elif release == "1.3.7":
        options = ["-e", "GREETING=hello"]
    else:
        options = ["-e", "GREETING=hello", "-r", "cpu=1", "-r", "ram=128", "-r", "gpu=1"]
    code = "import os; print(os.environ.get('GREETING'))"
    done = command(release, environment, "run", "-q", *ending(release), *options, "python", "-c", code)
    assert (done.returncode, done.stdout) == (0, "hello\n" if options else "None\n"), done


def test_a_named_session_is_attached_to(release, environment):
    name = f"named-{release}"
    for code, said in (("x = 5", ""), ("print(x)", "5\n")):
        done = command(release, environment, "run", "-q", "-t", name, "python", "-c", code)
        assert (done.returncode, done.stdout) == (0, said), done
