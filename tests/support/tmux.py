"""A terminal that tests can read: tmux, with a server and a shell of its own."""

import itertools
import os
import re
import subprocess
import tempfile
from pathlib import Path

from api import eventually
from cluster import programs

COLOUR = re.compile(r"\x1b\[[0-9;]*?\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])\b[0-9;]*m")


class Tmux:
    """A shell at a size, in which the programs run with a cluster's settings."""

    def __init__(self, cluster, columns=80, lines=24, **environment):
        self.numbers = itertools.count()
        self.folder = tempfile.TemporaryDirectory(prefix="tmux-")
        self.socket = str(Path(self.folder.name) / "socket")
        config = Path(self.folder.name) / "config"
        config.write_text("set -g status off\nset -g history-limit 5000\n")
        kept = {key: value for key, value in os.environ.items() if key not in ("TMUX", "NO_COLOR")}
        # tmux takes the PATH of who asks for a session, everything else of who started the server.
        settings = {**kept, **cluster.settings, "PATH": f"{programs()}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        command = ["setpriv", "--pdeathsig", "TERM", "--", "tmux", "-D", "-u", "-S", self.socket, "-f", str(config)]
        self.environment = {**settings, **environment, "TERM": "xterm"}
        self.server = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL)
        eventually(lambda: Path(self.socket).exists())
        # tmux has a TERM of its own for what runs in it, and shells that are no terminal's drop PS1.
        own = ["PS1=$ ", *(f"TERM={name}" for key, name in environment.items() if key == "TERM")]
        shell = ["env", *own, "bash", "--norc", "--noprofile"]
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), *shell)
        eventually(lambda: self.screen().startswith("$"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait(timeout=30)
        self.folder.cleanup()

    def tmux(self, *arguments):
        """A command to tmux; returns what it prints."""
        command = ["tmux", "-u", "-S", self.socket, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def type(self, text):
        """Types a line and Return."""
        self.tmux("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys):
        """Presses keys by tmux's names for them."""
        self.tmux("send-keys", *keys)

    def resize(self, columns, lines):
        """Gives the window another size."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, *options):
        """What is on the screen; `-e` with its escapes, `-J` with wrapped lines joined, `-S -` with what has gone."""
        return self.tmux("capture-pane", "-p", *options)

    def shows(self, *parts, seconds=20):
        """Waits until all parts are on the screen at once; returns it."""
        last = ""

        def all_there():
            nonlocal last
            last = self.screen()
            return all(part in last for part in parts)

        try:
            eventually(all_there, seconds=seconds)
        except AssertionError:
            raise AssertionError(f"not all of {parts} in:\n{last}") from None
        return last

    def run(self, command):
        """Runs a command to its end; returns what it wrote, wrapped lines joined, without the line it was typed in."""
        # Another word for each, since what was on the screen before is still there for a while.
        word = f"ended-{next(self.numbers)}="
        self.type(f"clear; {command}; echo {word}$?")
        eventually(lambda: re.search(rf"^{word}\d+$", self.screen(), re.M))
        lines = [line.rstrip() for line in self.screen("-J").splitlines()]
        return lines[: next(at for at, line in enumerate(lines) if line.startswith(word))]

    def state(self):
        """Whether the program has a screen of its own, and whether the cursor is visible."""
        alternate, cursor = self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split()
        return alternate == "1", cursor == "1"

    def child(self):
        """The process that the shell runs."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])
