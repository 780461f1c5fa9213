"""A user with a released client: a folder of files, two key pairs, and a log of what is called.

Also the other side of that log: what a release's own modules offer, as `file:line:name`.
"""

import ast
import os
import subprocess
from pathlib import Path

CLIENTS = dict(pair.split("=", 1) for pair in os.environ["CLIENT_RELEASES"].split())
# 1.0.6 with an aiohttp of its time, where there is a Python 3.6: its coroutines want that.
OF_2017 = os.environ.get("CLIENT_OF_2017")
HERE = Path(__file__).parent
# No functions for users: how a release calls its own functions, and what it takes from later Pythons.
INNER = {"base", "compat"}


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

    def start(self, *arguments, python=None, environment=()):
        """A program that runs."""
        command = [python or self.python, str(HERE / "recorded.py"), str(self.log), *arguments]
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        environment = {**self.environment, **dict(environment)}
        return subprocess.Popen(command, env=environment, cwd=self.folder, text=True, **pipes)

    def run(self, *arguments, typed="", **options):
        """(exit status, output) of a program."""
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(typed, timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError((arguments, process.communicate()))
        return process.returncode, out + err

    def command(self, *arguments, **options):
        """Output of the command line, which has to succeed."""
        status, output = self.run("backend.ai", *arguments, **options)
        assert status == 0 and "Traceback" not in output, output
        return output

    def second(self):
        """What makes a program the other user's."""
        return {f"BACKEND_{name}": self.environment[f"SECOND_{name}"] for name in ("ACCESS_KEY", "SECRET_KEY")}

    def offered(self):
        """What this release has for its users."""
        find = "import ai.backend.client as client; print(client.__file__)"
        root = Path(subprocess.run([self.python, "-c", find], capture_output=True, text=True).stdout.strip()).parent
        modules = [file for file in [*root.glob("*.py"), *root.glob("asyncio/*.py")] if file.stem not in INNER]
        programs = [*root.glob("cli/*.py"), *root.glob("cli/admin/*.py")]
        assert len(modules) > 8 and len(programs) > 5, root
        found = [(file, node) for file in modules for node in functions(ast.parse(file.read_text()))]
        found += [(file, node) for file in programs for node in commands(ast.parse(file.read_text()))]
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
