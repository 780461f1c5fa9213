"""Images as a real Docker registry has them."""

import hashlib
import http.client
import json
import os
import subprocess

import pytest

from api import eventually
from cluster import Cluster
from ports import free_ports

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


class Registry:
    """A registry of ours, and what is pushed to it."""

    def __init__(self, folder):
        (self.port,) = free_ports(31000, 1)
        config = folder / "config.yml"
        config.write_text(CONFIG.format(root=folder / "images", port=self.port))
        environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], env=environment, stdout=log, stderr=log)
        eventually(self.answers, seconds=20)

    def answers(self):
        assert self.process.poll() is None, "the registry has ended"
        try:
            return self.request("GET", "/v2/")[0] == 200
        except ConnectionRefusedError:
            return False

    def request(self, method, target, body=b"", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def blob(self, repository, content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        status, headers, _ = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202
        location = headers["Location"].partition(f":{self.port}")[2] or headers["Location"]
        joint = "&" if "?" in location else "?"
        status, _, said = self.request(
            "PUT", f"{location}{joint}digest={digest}", content, Content_Type="application/octet-stream"
        )
        assert status == 201, said
        return {"digest": digest, "size": len(content)}

    def push(self, repository, tag, content):
        """Pushes an image of nothing but its configuration; returns the manifest's digest."""
        config = self.blob(repository, json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "x": content}).encode())
        kind = {"mediaType": "application/vnd.docker.container.image.v1+json"}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {**config, **kind}, "layers": []})
        status, headers, said = self.request("PUT", f"/v2/{repository}/manifests/{tag}", manifest.encode(), Content_Type=MANIFEST)
        assert status == 201, said
        return headers["Docker-Content-Digest"]

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def cluster(registry):
    cluster = Cluster(BACKEND_DOCKER_REGISTRY=f"http://127.0.0.1:{registry.port}/ours")
    yield cluster
    cluster.close()


def rescan(admin, arguments=""):
    query = "mutation { rescan_images%s { ok msg changes { name tag hash was } } }" % arguments
    answer = admin.signed("POST", "/v4/admin/graphql", {"query": query})
    assert answer.status == 200, answer
    return answer.json["rescan_images"]


def tags(admin, image):
    answer = admin.signed("POST", "/v4/admin/graphql", {"query": "{ images { name tag hash } }"})
    return {it["tag"]: it["hash"] for it in answer.json["images"] if it["name"] == image}


def test_tags_become_those_of_the_registry(cluster, registry):
    admin = cluster.new_key(is_admin=True)
    before = tags(admin, "python")
    digests = {f"t{number:03}": registry.push("ours/kernel-python", f"t{number:03}", number) for number in range(3)}
    found = rescan(admin, '(name: "python")')
    assert (found["ok"], found["msg"]) == (True, "success")
    assert {it["tag"]: (it["hash"], it["was"]) for it in found["changes"]} == {tag: (it, None) for tag, it in digests.items()}
    eventually(lambda: tags(admin, "python") == before | digests, seconds=5)
    moved = registry.push("ours/kernel-python", "t001", "another")
    found = rescan(admin)
    assert found["changes"] == [{"name": "python", "tag": "t001", "hash": moved, "was": digests["t001"]}]
    eventually(lambda: tags(admin, "python")["t001"] == moved, seconds=5)
    assert rescan(admin)["changes"] == []
    found = rescan(admin, '(name: "python", prune: true)')
    assert {it["tag"]: it["hash"] for it in found["changes"]} == dict.fromkeys(before)
    eventually(lambda: set(tags(admin, "python")) == set(digests), seconds=5)


def test_what_cannot_be_rescanned_is_told(cluster, registry):
    admin = cluster.new_key(is_admin=True)
    assert rescan(admin, '(name: "nothing")') == {"ok": False, "msg": 'there is no image "nothing"', "changes": None}
    assert rescan(admin, '(name: "git")') == {"ok": False, "msg": "the registry has no image git", "changes": None}
    log = '{ audit_log(action: "rescan_images", target: "git") { outcome detail } }'
    answer = admin.signed("POST", "/v4/admin/graphql", {"query": log})
    assert answer.json["audit_log"] == [{"outcome": "refused", "detail": '{"prune":false}'}]
