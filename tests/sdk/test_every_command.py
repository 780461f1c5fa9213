"""Every command of every released client's command line, called for real.

What a release's own modules make a command and nothing called fails `test_nothing_is_left_out`. Where a release
breaks by itself, before it sends anything or after it has its answer, the test says how.
"""

import contextlib
import json
import socket

from api import Client, eventually
from ports import free_ports
from websocket import WebSocket
from workplace import number


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
            refused = "".join(process.stderr.readline() for _ in range(3))
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


@contextlib.contextmanager
def proxy(place):
    """A client without keys, whose requests go by the release's proxy; and what the proxy printed, once it ended."""
    [port] = free_ports(21800, 1)
    process = place.start("backend.ai", "proxy", "--bind", "127.0.0.1", "--port", str(port))
    printed = []

    def listens():
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return True

    try:
        assert eventually(listens, seconds=60)
        yield Client(f"http://127.0.0.1:{port}"), printed
    finally:
        process.kill()
        printed.append(process.communicate()[1])


def test_the_proxy_signs_for_others(place, release):
    name = "proxied-" + release.replace(".", "-")
    with proxy(place) as (client, printed):
        folders = client.plain("GET", "/v4/folders/")
        if release != "1.4.2":
            assert (folders.status, folders.json) == (200, [])
            content = {"Content-Type": "application/json"}
            session = json.dumps({"lang": "python", "clientSessionToken": name})
            made = client.plain("POST", "/v4/kernel/create", session, content)
            assert (made.status, made.json) == (201, {"kernelId": name, "created": True})
            if number(release) >= (1, 5):
                run_through(client, name)
            assert client.plain("DELETE", f"/v4/kernel/{name}").status == 200
            gone = client.plain("GET", f"/v4/kernel/{name}")
    if release == "1.4.2":
        # Its proxy makes a request without the session that every request of this release wants, and sends none.
        assert folders.status == 500 and "'str' object has no attribute 'config'" in printed[0], (folders, printed)
    elif release == "1.5.1":
        # Its proxy answers a problem with the document itself where a text has to be.
        assert gone.status == 500 and "Unsupported body type <class 'dict'>" in printed[0], (gone, printed)
    else:
        assert gone.status == 404 and gone.json["type"].endswith("/kernel-not-found"), gone


def run_through(client, name):
    """A run in a WebSocket that the proxy signs. It knows streams by a path that begins with them."""
    with WebSocket(client, f"/stream/kernel/{name}/execute", signed=False) as stream:
        stream.send({"mode": "query", "code": "print(6 * 7)"})
        console = []
        while (result := stream.receive())["status"] != "finished":
            console += result["console"]
    assert console + result["console"] == [["stdout", "42\n"]]


def test_nothing_is_left_out(place):
    """Last, since it counts what the tests before called."""
    left = place.offered_commands() - place.called()
    assert not left, sorted(left)
