"""A terminal in a web page: xterm.js in headless Chromium, served from another site than the gateway."""

import json
import subprocess

import pytest

from cluster import ROOT
from sign import signed_headers


class Page:
    """The page of tests/browser, driven by tests/browser/drive.mjs."""

    def __init__(self):
        command = ["setpriv", "--pdeathsig", "TERM", "--", "node", str(ROOT / "tests/browser/drive.mjs")]
        self.driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self):
        self.driver.stdin.close()
        assert self.driver.wait(timeout=30) == 0

    def do(self, what, **how):
        print(json.dumps({"do": what, **how}), file=self.driver.stdin, flush=True)
        answer = json.loads(self.driver.stdout.readline() or '{"error": "the driver ended"}')
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def connect(self, client, session):
        # A page may not set Date.
        named = client.host, client.access_key, client.secret_key
        headers = signed_headers("POST", "/v4/auth/ticket", *named, date_header="X-BackendAI-Date")
        self.do("connect", endpoint=f"http://{client.host}", session=session, headers=headers)

    def shows(self, pattern):
        return self.do("shows", pattern=pattern)


@pytest.fixture
def page():
    page = Page()
    yield page
    page.close()


@pytest.fixture
def shell(client):
    return client.started(lang="shell")


def test_the_shell_has_the_size_of_the_page(page, client, shell):
    page.connect(client, shell)
    page.do("resize", rows=33, cols=111)
    # The size goes by the kernel's queue, the keys do not.
    page.do("type", text="until stty size | grep '33 111'; do sleep 0.1; done; echo hello\n")
    page.shows("^hello$")
    page.do("resize", rows=20, cols=70)
    page.do("type", text="clear; until stty size | grep '20 70'; do sleep 0.1; done; echo again\n")
    screen = page.shows("^again$")
    assert "20 70" in screen and "33 111" not in screen.split("20 70")[-1]


def test_what_is_typed_is_no_longer_there_after_a_restart(page, client, shell):
    page.connect(client, shell)
    page.do("type", text="x=kept; echo [$x]\n")
    page.shows(r"^\[kept\]$")
    page.do("restart")
    page.do("type", text="echo new[$x]\n")
    page.shows(r"^new\[\]$")


def test_a_shell_that_is_left_comes_back(page, client, shell):
    page.connect(client, shell)
    page.do("type", text="echo first=$((6 * 7)) $$; exit\n")
    page.shows("^first=42 ")
    page.shows("^exit$[^]*[#$]$")
    page.do("type", text="echo second=$((6 * 7))\n")
    page.shows("^second=42$")


def test_letters_of_all_the_world(page, client, shell):
    page.connect(client, shell)
    page.do("type", text="echo 'żółć 漢字 🦀' | tr a-z A-Z\n")
    page.shows("^żółć 漢字 🦀$")


def test_a_session_that_ends_says_so_on_the_page(page, client, shell):
    page.connect(client, shell)
    page.do("type", text="echo up\n")
    page.shows("^up$")
    assert client.destroy(shell).status == 200
    assert page.do("ending")["code"] == 1000
    page.shows(r"\[.*ended.*\]")


def test_a_page_that_comes_back_finds_its_shell(page, client, shell):
    page.connect(client, shell)
    page.do("type", text="x=kept; echo set\n")
    page.shows("^set$")
    other = Page()
    try:
        other.connect(client, shell)
        other.do("type", text="echo found=$x\n")
        other.shows("^found=kept$")
        # What one types, all see.
        page.shows("^found=kept$")
    finally:
        other.close()
