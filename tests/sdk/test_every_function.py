"""Every public function and command of every released client, called for real.

tour.py calls the functions, the tests below the command line; recorded.py notes what was called. What a release's own
modules define and nothing called fails `test_nothing_is_left_out`. Where a release breaks by itself, before it sends
anything or after it has its answer, the test says how.
"""

import json
import socket
import urllib.error
import urllib.request

import pytest

from api import eventually
from ports import free_ports
from workplace import CLIENTS, HERE, OF_2017, Workplace


def number(release):
    return tuple(map(int, release.split(".")))


@pytest.fixture(params=CLIENTS, scope="module")
def release(request):
    """A release number."""
    return request.param


@pytest.fixture(scope="module")
def place(cluster, release, tmp_path_factory):
    return Workplace(cluster, release, tmp_path_factory.mktemp(f"client-{release}"))


@pytest.fixture(scope="module")
def told(place):
    """What tour.py saw."""
    return toured(place, "tour.py")


@pytest.fixture(scope="module")
def of_2017(place, release):
    """What 1.0.6 saw with an aiohttp of its time, where this machine has a Python for that."""
    return toured(place, "tour_async.py", python=OF_2017) if release == "1.0.6" and OF_2017 else None


def toured(place, tour, **options):
    status, output = place.run(str(HERE / tour), place.release, **options)
    assert status == 0, output
    return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


# Functions


def test_settings_and_requests(told, release):
    assert all(told["settings"].values()), told["settings"]
    answer = {"status": 200, "reason": "OK", "type": "application/json", "length": True, "same": True}
    if release == "1.0.6":
        answer["type"] += "; charset=utf-8"
    assert told["answer"] == {**answer, "echo": "back again"}
    assert told["error"] == [404, "Not Found", "https://api.backend.ai/probs/kernel-not-found"]
    if number(release) < (1, 5):
        assert told["contents"] == [{"echo": "back again"}, "some text", "some bytes"] and told["charset"] == "utf-8"
    else:
        assert told["contents"] == ["some text", "text/plain"]
        # `readall` of these releases calls a function by a name that it has not.
        assert told["parts"] == [True, True, "AttributeError"]
    if number(release) >= (1, 4):
        assert told["session"] == [False, True]
    if release == "1.4.2":
        # It closes the answer before it gives it to be read, and takes the name of a function for its value.
        broken = {"read": "", "readall": "AttributeError", "areadall": "ClientConnectionError"}
        assert told["streamed_answer"] == {"type": "application/json", "stream": True, **broken}


def test_sessions(told, release):
    assert told["query"] == "42\n"
    assert told["completed"] and told["complete_mode"]
    assert told["batch"] == "built\nfrom a file there\n"
    assert told["after_restart"] == "False import sys\n"
    assert told["queries"] > 5
    assert told["destroyed"] == ["stats"]
    if number(release) >= (1, 3):
        assert told["logs"] == ["logs"]
    if number(release) >= (1, 4):
        assert "hello.py" in told["files"]
        # 1.4.2 breaks when it has the answer.
        assert told["download"] == "AttributeError" if release == "1.4.2" else told["downloaded"] is True
    if number(release) >= (18,):
        assert told["hello"] == {"version": "v4.20181215"}


def test_folders(told, release):
    if number(release) < (1, 3):
        assert "folder" not in told
        return
    assert told["folder"] == ["id", "name"] and told["folders"]
    assert told["folder_info"] == 1
    assert told["mounted"] == "1000\n"
    assert told["folders_left"] == 0
    if number(release) < (1, 5):
        # It makes `get` a function that takes no name.
        assert told["get"] == "TypeError"
    if number(release) < (1, 4):
        assert told["folder_download"] == "NotImplementedError"
        return
    assert told["folder_files"] == ["data.txt", "sub"] and told["folder_rest"] == ["data.txt"]
    assert told["folder_download"] is True
    assert told["invited"] and told["shared"] == [False, "rw"] and told["refused"] == 0


def test_administration(told, place, release):
    assert told["admin_query"] == {"access_key": place.key.access_key}
    if number(release) >= (1, 3):
        assert "ALIVE" in told["agents"]
        assert told["key_pair"] == "AKIA" and told["key_pairs"]
        # The releases promise it, and do not do it.
        assert told["activate"] == told["deactivate"] == "NotImplementedError"
    if number(release) >= (18,):
        assert told["agent"] == "ALIVE" and told["own_key_pair"] is True
        assert ["python", "latest"] in told["images"]
        # This release breaks before it sends anything; mended, it asks for what none of the served versions has.
        assert told["manager"] == ["AssertionError"] * 3
        assert told["manager_answers"] == [[404, "https://api.backend.ai/probs/generic-not-found"]] * 3


def test_coroutines(told, release):
    if release == "1.0.6":
        # It does not sign the handshake.
        assert told["refused_terminal"] == 401
        return
    is_open_or_broken = (told["sized"], told["restarted"], told["broken"], told["closed"])
    assert is_open_or_broken == (True, True, False, True)
    assert told["async_query"] == [["stdout", "42\n"]]
    if number(release) >= (1, 4):
        assert told["async_settings"] == [False, True]
    if number(release) >= (18,):
        # It forgets that the stream was to be a StreamPty, and no StreamPty has the `ws` that it writes to.
        assert told["terminal_is"] == ["WebSocketResponse", "ws"]
        assert told["frames"] == ["out", "out", "TypeError"]
        assert told["after_bytes"] == "the message is not text"
        [query, batch] = told["streamed"]
        assert query == [["waiting-input", "finished"], "? Hi Ann\n"]
        assert batch[0][-1] == "finished" and "build-finished" in batch[0] and batch[1] == "built\nexecuted\n"


def test_coroutines_of_2017(of_2017, release):
    if of_2017 is None:
        assert release != "1.0.6" or not OF_2017
        return
    assert of_2017["async_query"] == [["stdout", "42\n"]]
    assert of_2017["refused_terminal"] == 401
    # Signed by hand, it is a terminal like any.
    is_open_or_broken = tuple(of_2017[name] for name in ("sized", "restarted", "broken", "closed"))
    assert is_open_or_broken == (True, True, False, True)
    # It breaks before it sends anything: with every aiohttp that it says it works with.
    assert of_2017["upload"] == "'NoneType' object has no attribute 'set_content_disposition'"


# Commands


def test_runs_on_the_command_line(place, release):
    assert place.key.access_key in place.command("config")
    assert "proxy" in place.command("--help" if number(release) >= (18,) else "help")
    ending = [] if release == "1.0.6" else ["--rm"]
    assert "2\n" in place.command("run", *ending, "python", "-c", "print(1+1)")
    (place.folder / "main.py").write_text("import sys; print('file', *sys.argv[1:])\n")
    printed = place.command("run", *ending, "python", "main.py", "--exec", "python main.py here")
    assert "file here" in printed, printed
    assert "Hi Ann" in place.command("run", *ending, "python", "-c", "print('Hi', input('? '))", typed="Ann\n")


def test_short_names_of_run(place, release):
    """lpython and lcc run code of these languages, of which this cluster has one."""
    ending = [] if release == "1.0.6" else ["--rm"]
    status, output = place.run("lpython", *ending, "-c", "print(6 * 7)")
    assert status == 0 and "42\n" in output, output
    output = place.run("lcc", *ending, "-c", "int main() {}")[1]
    assert "404" in output and "No such environment image" in output, output


def test_sessions_on_the_command_line(place, release):
    if release == "1.0.6":
        assert "ession" in place.command("ps")
        assert "ession" in place.command("admin", "sessions")
        return
    name = "cli-" + release.replace(".", "-")
    if number(release) >= (18,):
        place.command("start", "-t", name, "python")
    else:
        place.command("run", "-t", name, "python", "-c", "x = 1")
    for listing in (["ps"], ["admin", "sessions"]):
        assert "python" in place.command(*listing)
    assert "End of logs" in place.command("logs", name)
    if number(release) >= (1, 4):
        files_of_a_session(place, release, name)
        assert "python" in place.command("admin", "session", name)
        # 18.12 has `info`, and forgot to make it a command.
        info = ["info"] if number(release) < (18,) else ["-c", "from ai.backend.client.cli.run import info; info()"]
        program = ["backend.ai"] if number(release) < (18,) else []
        status, output = place.run(*program, *info, name)
        assert status == 0 and "python" in output, output
    if number(release) >= (18,):
        no_service(place, name)
    assert "erminat" in place.command("terminate", name)


def files_of_a_session(place, release, name):
    (place.folder / "up.txt").write_text("upwards")
    place.command("upload", name, "up.txt")
    (place.folder / "up.txt").unlink()
    status, output = place.run("backend.ai", "download", name, "up.txt")
    if release == "1.4.2":
        # It breaks when it has the answer.
        assert status != 0 and "AttributeError" in output, output
    else:
        assert status == 0 and (place.folder / "up.txt").read_text() == "upwards", output
    assert "up.txt" in place.command("ls", name, ".")


def no_service(place, name):
    """`app` forwards connections to services in containers, which none of the served versions of the API has."""
    [port] = free_ports(21900, 1)
    process = place.start("backend.ai", "app", name, "jupyter", "-p", str(port))
    try:
        assert "available at" in process.stderr.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            refused = process.stderr.readline()
        assert "404" in refused, refused
    finally:
        process.kill()
        process.communicate()


def test_folders_on_the_command_line(place, release):
    if number(release) < (1, 3):
        assert "invalid choice" in place.run("backend.ai", "vfolder")[1]
        return
    name = "cli-folder"
    assert "vfolder" in place.run("backend.ai", "vfolder", "--help")[1]
    place.run("backend.ai", "vfolder")
    place.command("vfolder", "create", name)
    (place.folder / "some.txt").write_text("something")
    place.command("vfolder", "upload", name, "some.txt")
    assert name in place.command("vfolder", "list")
    assert name in place.command("vfolder", "info", name)
    assert name in place.command("admin", "vfolders")
    (place.folder / "some.txt").unlink()
    status, output = place.run("backend.ai", "vfolder", "download", name, "some.txt")
    if number(release) < (1, 4):
        assert status != 0 and "NotImplementedError" in output, output
    else:
        assert status == 0 and (place.folder / "some.txt").read_text() == "something", output
        more_of_folders(place, name)
    place.command("vfolder", "delete", name)
    assert name not in place.command("vfolder", "list")


def more_of_folders(place, name):
    """What came with 1.4."""
    place.command("vfolder", "mkdir", name, "deep")
    assert "deep" in place.command("vfolder", "ls", name, ".")
    place.command("vfolder", "rm", "-r", name, "deep", typed="y\n")
    assert "deep" not in place.command("vfolder", "ls", name, ".")
    # The releases promise it, and do not do it.
    status, output = place.run("backend.ai", "vfolder", "cp", "a", "b")
    assert status != 0 and "NotImplementedError" in output, output
    assert place.environment["SECOND_USER"] in place.command("vfolder", "invite", name, place.environment["SECOND_USER"])
    place.command("vfolder", "invitations", typed="1\na\n", environment=place.second())
    assert name in place.command("vfolder", "list", environment=place.second())


def test_administration_on_the_command_line(place, release):
    shown = place.run("backend.ai", "admin")[1]
    assert "sessions" in shown if number(release) >= (18,) else "-h/--help" in shown, shown
    if number(release) < (1, 3):
        assert "Max Size" in place.command("admin", "vfolders")
        return
    assert "ALIVE" in place.command("admin", "agents")
    user = ["79"] if number(release) >= (18,) else ["--user-id", "79"]
    assert "AKIA" in place.command("admin", "keypairs", "add", *user)
    assert "AKIA" in place.command("admin", "keypairs", "--user-id", "79")
    if number(release) >= (18,):
        agent = place.cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE' ORDER BY id LIMIT 1")[0][0]
        assert "ALIVE" in place.command("admin", "agent", "-i", agent)
        assert place.key.access_key in place.command("admin", "keypair")
        assert "python" in place.command("admin", "images")
        # As in the tour: this release breaks before it sends anything.
        for what in ("status", "freeze", "unfreeze"):
            status, output = place.run("backend.ai", "manager", what)
            assert status != 0 and "AssertionError" in output, output


def test_the_proxy_signs_for_others(place, release):
    [port] = free_ports(21800, 1)
    process = place.start("backend.ai", "proxy", "--bind", "127.0.0.1", "--port", str(port))
    address = f"http://127.0.0.1:{port}/v4/folders/"

    def answer():
        """(status, body) once the proxy listens."""
        assert process.poll() is None
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (ConnectionError, urllib.error.URLError):
            return None

    try:
        status, body = eventually(answer, seconds=30)
    finally:
        process.kill()
        _, errors = process.communicate()
    if release == "1.4.2":
        # Its proxy makes a request without the session that every request of this release wants, and sends none.
        assert status == 500 and "'str' object has no attribute 'config'" in errors, (status, body, errors)
    else:
        assert (status, json.loads(body)) == (200, []), errors


def test_nothing_is_left_out(told, of_2017, place, release):
    """Last, since it counts what the tests before called."""
    left = place.offered() - place.called()
    if release == "1.0.6" and not OF_2017:
        # ./dev test says so: no Python here is old enough for the aiohttp that its coroutines want.
        left = {name for name in left if not name.startswith("asyncio/")}
    assert not left, sorted(left)
