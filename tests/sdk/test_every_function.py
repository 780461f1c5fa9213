"""Every public function and command of every released client, called for real.

tour.py calls the functions, COMMANDS below the command line; recorded.py notes what was called. What a release's own
modules define and nothing called fails `test_nothing_is_left_out`.
"""

import ast
import json
import os
import subprocess
import urllib.request
from pathlib import Path

import pytest

from api import eventually
from ports import free_ports

CLIENTS = dict(pair.split("=", 1) for pair in os.environ["CLIENT_RELEASES"].split())
HERE = Path(__file__).parent
# What is no function of the API, but how a release makes its requests and keeps its settings.
INNER = {"__init__", "auth", "base", "compat", "config", "exceptions", "request"}
# Not called, and why not.
EXCUSED = {
    # Wants an aiohttp of 2017, which a Python of today cannot have; and its terminal is refused.
    "1.0.6": {"asyncio/kernel.py:" + name for name in "upload closed exception send_str resize restart close".split()},
    "18.12.3": {"cli/app.py:app"},  # forwards ports of services in containers: not in the versions of the API served
}


def number(release):
    return tuple(map(int, release.split(".")))


@pytest.fixture(params=CLIENTS, scope="module")
def release(request):
    """A release number."""
    return request.param


class Workplace:
    """A user with a released client: a folder of files, key pairs, and a log of what is called."""

    def __init__(self, cluster, release, folder):
        self.python, self.release, self.folder, self.cluster = CLIENTS[release], release, folder, cluster
        self.log = folder / "called"
        key, second = cluster.new_key(is_admin=True), cluster.new_key()
        self.key, user = key, f"9{len(CLIENTS)}{list(CLIENTS).index(release)}"
        cluster.sql(f"UPDATE keypairs SET user_id = {user} WHERE access_key = '{second.access_key}'")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "BACKEND_ENDPOINT": cluster.endpoint,
            "BACKEND_ACCESS_KEY": key.access_key,
            "BACKEND_SECRET_KEY": key.secret_key,
            "SECOND_ACCESS_KEY": second.access_key,
            "SECOND_SECRET_KEY": second.secret_key,
            "SECOND_USER": user,
        }

    def start(self, *arguments, **options):
        command = [self.python, str(HERE / "recorded.py"), str(self.log), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options
        )

    def run(self, *arguments, typed=""):
        """(exit status, output) of a program."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(typed, timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError((arguments, process.communicate()))
        return process.returncode, out + err

    def command(self, *arguments, typed=""):
        """Output of the command line, which has to succeed."""
        status, output = self.run("backend.ai", *arguments, typed=typed)
        assert status == 0 and "Traceback" not in output, output
        return output

    def public(self):
        """`file:name` of what this release defines for its users."""
        find = "import ai.backend.client as client; print(client.__file__)"
        root = Path(subprocess.run([self.python, "-c", find], capture_output=True, text=True).stdout.strip()).parent
        found = set()
        for file in [*root.glob("*.py"), *root.glob("asyncio/*.py")]:
            if file.stem not in INNER:
                found |= {f"{file.relative_to(root)}:{name}" for name in methods(ast.parse(file.read_text()))}
        for file in [*root.glob("cli/*.py"), *root.glob("cli/admin/*.py")]:
            found |= {f"{file.relative_to(root)}:{name}" for name in commands(ast.parse(file.read_text()))}
        return found

    def called(self):
        return set(self.log.read_text().split())


def methods(tree):
    """Methods of public classes. Those of one underscore are what an instance offers without it, up to 1.4."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for part in node.body:
                if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and not part.name.startswith("__"):
                    yield part.name


def commands(tree):
    """Functions that a decorator makes a command."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            if "register_command" in decorators or ".command(" in decorators or ".group(" in decorators:
                yield node.name


@pytest.fixture(scope="module")
def place(cluster, release, tmp_path_factory):
    return Workplace(cluster, release, tmp_path_factory.mktemp(f"client-{release}"))


@pytest.fixture(scope="module")
def told(place):
    """What tour.py saw."""
    status, output = place.run(str(HERE / "tour.py"), place.release)
    assert status == 0, output
    return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


# Functions


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


def test_folders(told, release):
    if number(release) < (1, 3):
        assert "folder" not in told
        return
    assert told["folder"] == ["id", "name"] and told["folders"]
    assert told["folder_info"] == 1
    assert told["mounted"] == "1000\n"
    assert told["folders_left"] == 0
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
        # This release breaks before it sends anything.
        assert told["manager"] == ["AssertionError"] * 3


def test_coroutines(told, release):
    if release == "1.0.6":
        # It does not sign the handshake.
        assert told["refused_terminal"] == 401
    else:
        assert told["sized"] is True and told["restarted"] is True
        assert told["async_query"] == [["stdout", "42\n"]]
    if number(release) >= (18,):
        assert told["streamed"] == [[["stdout", "streamed\n"]], "finished"]


# Commands


def test_runs_on_the_command_line(place, release):
    assert place.command("config") and "run" in place.run("backend.ai", "--help" if number(release) >= (18,) else "help")[1]
    ending = [] if release == "1.0.6" else ["--rm"]
    assert "2\n" in place.command("run", *ending, "python", "-c", "print(1+1)")
    (place.folder / "main.py").write_text("import sys; print('file', *sys.argv[1:])\n")
    printed = place.command("run", *ending, "python", "main.py", "--exec", "python main.py here")
    assert "file here" in printed, printed
    assert "Hi Ann" in place.command("run", *ending, "python", "-c", "print('Hi', input('? '))", typed="Ann\n")


def test_sessions_on_the_command_line(place, release):
    if release == "1.0.6":
        assert "ession" in place.command("ps")
        assert "ession" in place.command("admin", "sessions")
        assert place.command("admin", "vfolders") is not None
        return
    name = "cli-" + release.replace(".", "-")
    if number(release) >= (18,):
        place.command("start", "-t", name, "python")
    else:
        place.command("run", "-t", name, "python", "-c", "x = 1")
    for listing in (["ps"], ["admin", "sessions"]):
        assert "python" in place.command(*listing)
    place.command("logs", name)
    if number(release) >= (1, 4):
        (place.folder / "up.txt").write_text("upwards")
        place.command("upload", name, "up.txt")
        (place.folder / "up.txt").unlink()
        status, output = place.run("backend.ai", "download", name, "up.txt")
        if release != "1.4.2":
            assert status == 0 and (place.folder / "up.txt").read_text() == "upwards", output
        assert "up.txt" in place.command("ls", name, ".")
        if number(release) < (18,):  # which has it, and forgot to make it a command
            assert "python" in place.command("info", name)
        assert "python" in place.command("admin", "session", name)
    assert "erminat" in place.command("terminate", name)


def test_folders_on_the_command_line(place, release):
    if number(release) < (1, 3):
        return
    name = "cli-folder"
    place.run("backend.ai", "vfolder")
    place.command("vfolder", "create", name)
    (place.folder / "some.txt").write_text("something")
    place.command("vfolder", "upload", name, "some.txt")
    assert name in place.command("vfolder", "list")
    assert name in place.command("vfolder", "info", name)
    assert name in place.command("admin", "vfolders")
    (place.folder / "some.txt").unlink()
    # 1.3 does not do it, and says so by breaking.
    status, output = place.run("backend.ai", "vfolder", "download", name, "some.txt")
    if number(release) >= (1, 4):
        assert status == 0 and (place.folder / "some.txt").read_text() == "something", output
        place.command("vfolder", "mkdir", name, "deep")
        assert "deep" in place.command("vfolder", "ls", name, ".")
        place.command("vfolder", "rm", "-r", name, "deep", typed="y\n")
        assert "deep" not in place.command("vfolder", "ls", name, ".")
        place.run("backend.ai", "vfolder", "cp", "a", "b")
        place.command("vfolder", "invite", name, place.environment["SECOND_USER"])
        mine = {name: place.environment[f"BACKEND_{name}"] for name in ("ACCESS_KEY", "SECRET_KEY")}
        for part in mine:
            place.environment[f"BACKEND_{part}"] = place.environment[f"SECOND_{part}"]
        try:
            listed = place.command("vfolder", "invitations", typed="1\na\n")
        finally:
            place.environment.update({f"BACKEND_{part}": value for part, value in mine.items()})
        assert "1" in listed, listed
    place.command("vfolder", "delete", name)


def test_administration_on_the_command_line(place, release):
    if number(release) < (1, 3):
        return
    place.run("backend.ai", "admin")
    assert "ALIVE" in place.command("admin", "agents")
    assert "AKIA" in place.command("admin", "keypairs", "--user-id", "77")
    assert "AKIA" in place.command("admin", "keypairs", "add", "--user-id", "79") if number(release) < (18,) else place.command("admin", "keypairs", "add", "79")
    if number(release) >= (18,):
        agent = place.cluster.sql("SELECT id FROM agents WHERE status = 'ALIVE' ORDER BY id LIMIT 1")[0][0]
        assert "ALIVE" in place.command("admin", "agent", "-i", agent)
        assert place.key.access_key in place.command("admin", "keypair")
        assert "python" in place.command("admin", "images")
        for what in ("status", "freeze", "unfreeze"):
            status, output = place.run("backend.ai", "manager", what)
            assert status != 0 and "AssertionError" in output, output


def test_the_proxy_signs_for_others(place, release):
    [port] = free_ports(21800, 1)
    process = place.start("backend.ai", "proxy", "--bind", "127.0.0.1", "--port", str(port))
    try:

        def answer():
            assert process.poll() is None, process.communicate()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v4/folders/", timeout=10) as answer:
                    return answer.read()
            except ConnectionError:
                return None
            except OSError as error:
                return None if "refused" in str(error) else error.read()

        assert json.loads(eventually(answer)) == [] or number(release) >= (1, 4)
    finally:
        process.kill()
        print(process.communicate())


def test_nothing_is_left_out(told, place, release):
    """Last, since it counts what the tests before called."""
    left = place.public() - place.called() - EXCUSED.get(release, set())
    assert not left, sorted(left)
