"""Calls every public function of a released client; runs under that client's own Python (3.6 or later).

Prints one JSON object of what happened. The releases are of three kinds: up to 1.3 classes of modules, in 1.4
a session with those, from 1.5 on a session with coroutines behind; what they offer has the same names in all.
A folder to work in is the current one; SECOND_ACCESS_KEY and SECOND_SECRET_KEY are another user's.
"""

import contextlib
import json
import os
import sys
import uuid
from types import SimpleNamespace

from ai.backend.client.config import APIConfig
from ai.backend.client.exceptions import BackendAPIError
from steps import follow, outcome
from tour_async import asynchronous
from tour_requests import errors, requests, settings

try:
    from ai.backend.client.session import Session
except ImportError:
    Session = None
with contextlib.suppress(ImportError):
    from ai.backend.client.session import is_legacy_server


class Plain:
    """What a session offers, for the releases that have none."""

    def __enter__(self):
        from ai.backend.client import admin, kernel

        offers = {"Kernel": kernel.Kernel, "Admin": admin.Admin}
        with contextlib.suppress(ImportError):
            from ai.backend.client import agent, keypair, vfolder

            offers.update(Agent=agent.Agent, KeyPair=keypair.KeyPair, VFolder=vfolder.VFolder)
        return SimpleNamespace(**offers)

    def __exit__(self, *_):
        from ai.backend.client import request

        getattr(request, "shutdown", lambda: None)()


def sessions(offers, told):
    token = "tour-" + uuid.uuid4().hex
    if hasattr(offers.Kernel, "hello"):
        told["hello"] = offers.Kernel.hello()
        told["legacy"] = is_legacy_server()
    kernel = offers.Kernel.get_or_create("python", client_token=token)
    told["query"] = follow(kernel, "print(6 * 7)")
    completed = kernel.complete("pri", {"post": "", "line": "pri", "row": 0, "col": 3})
    told["completed"] = completed.get("result", completed)["completions"]
    told["complete_mode"] = kernel.execute(None, "impo", mode="complete")["completions"]
    with open("hello.py", "w") as file:
        file.write("import sys; print('from a file', *sys.argv[1:])\n")
    kernel.upload(["hello.py"])
    told["batch"] = follow(kernel, "", "batch", {"build": "echo built", "exec": "python hello.py there"})
    kernel.interrupt()
    follow(kernel, "x = 1")
    kernel.restart()
    told["after_restart"] = follow(kernel, "print('x' in globals(), open('hello.py').read()[:10])")
    told["queries"] = kernel.get_info()["numQueriesExecuted"]
    if hasattr(kernel, "get_logs"):
        told["logs"] = sorted(kernel.get_logs()["result"])
    if hasattr(kernel, "list_files"):
        told["files"] = [entry["filename"] for entry in json.loads(kernel.list_files(".")["files"])]
        os.unlink("hello.py")
        told["download"] = outcome(kernel.download, ["hello.py"])
        told["downloaded"] = os.path.exists("hello.py")
    told["destroyed"] = sorted(kernel.destroy())


def folders(offers, told, second):
    name = "tour-" + uuid.uuid4().hex
    told["folder"] = sorted(offers.VFolder.create(name))
    told["folders"] = [folder["name"] for folder in offers.VFolder.list()] == [name]
    if hasattr(offers.VFolder, "get"):
        told["get"] = outcome(offers.VFolder.get, name)
    folder = offers.VFolder(name)
    with open("data.txt", "w") as file:
        file.write("some data\n" * 100)
    folder.upload(["data.txt"])
    told["folder_info"] = folder.info()["numFiles"]
    if hasattr(folder, "mkdir"):
        folder.mkdir("sub/deep")
        told["folder_files"] = sorted(entry["filename"] for entry in json.loads(folder.list_files(".")["files"]))
        os.unlink("data.txt")
        folder.download(["data.txt"])
        told["folder_download"] = open("data.txt").read() == "some data\n" * 100
        told["invited"] = folder.invite("rw", [os.environ["SECOND_USER"]])["invited_ids"] == [os.environ["SECOND_USER"]]
        told["shared"] = second(share, name)
        folder.delete_files(["sub"], recursive=True)
        told["folder_rest"] = [entry["filename"] for entry in json.loads(folder.list_files(".")["files"])]
    else:
        told["folder_download"] = outcome(folder.download, ["data.txt"])
    kernel = offers.Kernel.get_or_create("python", mounts=[name])
    told["mounted"] = follow(kernel, "print(len(open('%s/data.txt').read()))" % name)
    kernel.destroy()
    folder.delete()
    told["folders_left"] = len(offers.VFolder.list())


def share(offers, name):
    """What the invited one does: takes what is offered, and refuses a second one."""
    [invitation] = offers.VFolder.invitations()["invitations"]
    offers.VFolder.accept_invitation(invitation["id"], os.environ["SECOND_ACCESS_KEY"])
    [found] = [folder for folder in offers.VFolder.list() if folder["name"] == name]
    return [found["is_owner"], found["permission"]]


def refuse(offers, _name):
    [invitation] = offers.VFolder.invitations()["invitations"]
    offers.VFolder.delete_invitation(invitation["id"])
    return len(offers.VFolder.invitations()["invitations"])


def refused_invitation(offers, told, second):
    name = "tour-" + uuid.uuid4().hex
    offers.VFolder.create(name)
    folder = offers.VFolder(name)
    folder.invite("ro", [os.environ["SECOND_USER"]])
    told["refused"] = second(refuse, name)
    folder.delete()


def administration(offers, told):
    told["admin_query"] = offers.Admin.query("query { keypair { access_key } }")["keypair"]
    if hasattr(offers, "Agent"):
        told["agents"] = [agent["status"] for agent in offers.Agent.list()]
        if hasattr(offers.Agent, "info"):
            agent = offers.Agent(offers.Agent.list()[0]["id"])
            told["agent"] = agent.info()["status"]
    if hasattr(offers, "KeyPair"):
        made = offers.KeyPair.create(79, is_active=True, rate_limit=10)
        made = made.get("keypair", made)
        told["key_pair"] = made["access_key"][:4]
        told["key_pairs"] = made["access_key"] in [pair["access_key"] for pair in offers.KeyPair.list(79)]
        pair = offers.KeyPair(made["access_key"]) if hasattr(offers.KeyPair, "info") else None
        if pair:
            told["own_key_pair"] = pair.info()["is_active"]
        for change in ("activate", "deactivate"):
            subject = () if pair else (made["access_key"],)
            told[change] = outcome(getattr(pair or offers.KeyPair, change), *subject)
    if hasattr(offers, "Image"):
        told["images"] = [(image["name"], image["tag"]) for image in offers.Image.list()]
    if hasattr(offers, "Manager"):
        manager(offers, told)


def manager(offers, told):
    """18.12 gives its session to the class by another name than it looks for. With that, the gateway is asked."""
    calls = [getattr(offers.Manager, call) for call in ("status", "freeze", "unfreeze")]
    told["manager"] = [outcome(call) for call in calls]
    offers.Manager.session = offers
    told["manager_answers"] = []
    for call in calls:
        try:
            call()
        except BackendAPIError as error:
            told["manager_answers"].append([error.status, error.data["type"]])


def main():
    told = {}
    second_keys = {"access_key": os.environ["SECOND_ACCESS_KEY"], "secret_key": os.environ["SECOND_SECRET_KEY"]}

    def second(work, name):
        with Session(config=APIConfig(**second_keys)) as offers:
            return work(offers, name)

    with Session() if Session else Plain() as offers:
        if Session:
            told["session"] = [offers.closed, offers.config.access_key == os.environ["BACKEND_ACCESS_KEY"]]
        settings(told)
        requests(offers, told)
        errors(told, offers.Kernel("no-such-session").get_info)
        sessions(offers, told)
        if hasattr(offers, "VFolder"):
            folders(offers, told, second)
            if hasattr(offers.VFolder, "invitations"):
                refused_invitation(offers, told, second)
        administration(offers, told)
    asynchronous(told, sys.argv[1])
    print(json.dumps(told))


if __name__ == "__main__":
    main()
