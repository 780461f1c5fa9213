"""A user with a released client: a folder of files, two key pairs, and a log of what is called.

Also the other side of that log: what a release's own modules offer, as `file:line:name`.
"""

import ast
import contextlib
import json
import os
import select
import signal
import subprocess
from pathlib import Path

CLIENTS = dict(pair.split("=", 1) for pair in os.environ["CLIENT_RELEASES"].split())
# 1.0.6 with an aiohttp of its time, where there is a Python 3.6: its coroutines want that.
OF_2017 = os.environ.get("CLIENT_OF_2017")
HERE = Path(__file__).parent
LIMIT = 100  # seconds for a program, below pytest's own for a test
# No functions for users: how a release calls its own functions, and what it takes from later Pythons.
INNER = {"base", "compat"}


def number(release):
    """A release as numbers, to be compared."""
    return tuple(map(int, release.split(".")))


class Workplace:
    """Runs programs of one release as its user would."""

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
        self.files = [self.folder / name for name in ("stdin", "stdout", "stderr")]
        self.server = self.start()
        self.answered("the start")

    def close(self):
        self.server.kill()
        self.server.communicate()

    def start(self, *arguments, python=None):
        """A program that runs beside the test."""
        command = [python or self.python, str(HERE / "recorded.py"), str(self.log), *arguments]
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        return subprocess.Popen(
            command, env=self.environment, cwd=self.folder, text=True, start_new_session=True, **pipes
        )

    def run(self, program, *arguments, typed="", environment=()):
        """(exit status, output) of a program."""
        for file, text in zip(self.files, (typed, "", "")):
            file.write_text(text)
        environment = {**self.environment, **dict(environment)}
        asked = {"program": program, "arguments": arguments, "files": [str(file) for file in self.files]}
        self.server.stdin.write(json.dumps({**asked, "environment": environment}) + "\n")
        self.server.stdin.flush()
        return self.answered((program, *arguments)), self.output()

    def answered(self, what):
        """The next line of the process that runs the programs. It has no more than that line to give."""
        if not select.select([self.server.stdout], [], [], LIMIT)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.server.pid, signal.SIGKILL)
            raise AssertionError(f"{what} takes longer than {LIMIT} s: {self.output()}")
        line = self.server.stdout.readline()
        assert line, (what, self.server.communicate())
        return json.loads(line)

    def output(self):
        """What the last program printed."""
        return "".join(file.read_text() for file in self.files[1:])

    def command(self, *arguments, **options):
        """Output of the command line, which has to succeed."""
        status, output = self.run("backend.ai", *arguments, **options)
        assert status == 0 and "Traceback" not in output, output
        return output

    def second(self):
        """What makes a program the other user's."""
        return {f"BACKEND_{name}": self.environment[f"SECOND_{name}"] for name in ("ACCESS_KEY", "SECRET_KEY")}

    def offered_functions(self):
        """What this release has for programs."""
        return self.defined(functions, "*.py", "asyncio/*.py")

    def offered_commands(self):
        """What this release has for the command line."""
        return self.defined(commands, "cli/*.py", "cli/admin/*.py")

    def defined(self, find, *patterns):
        """What is found in the release's own modules."""
        locate = "import ai.backend.client as client; print(client.__file__)"
        root = Path(subprocess.check_output([self.python, "-c", locate], text=True).strip()).parent
        files = [file for pattern in patterns for file in root.glob(pattern) if file.stem not in INNER]
        found = [(file, node) for file in files for node in find(ast.parse(file.read_text()))]
        assert len(found) > 6, (root, found)
        return {f"{file.relative_to(root)}:{first_line(node)}:{node.name}" for file, node in found}

    def called(self):
        """Functions of this release that were called until now."""
        return set(self.log.read_text().split())


def functions(tree):
    """Public functions, and methods of public classes: those of one underscore are what an instance of up to 1.4
    offers without it."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for part in node.body:
                if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and not part.name.startswith("__"):
                    # What a class leaves to those below it is no function yet.
                    if "abstractmethod" not in decorators(part):
                        yield part


def commands(tree):
    """Functions that a decorator makes a command or a group of them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            if any(maker in decorators(node) for maker in ("register_command", ".command(", ".group(")):
                yield node


def decorators(node):
    return " ".join(ast.unparse(decorator) for decorator in node.decorator_list)


def first_line(node):
    """Where the code of a function says that it begins."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
