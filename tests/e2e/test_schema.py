"""The API's description against the gateway: schemathesis makes requests from /openapi.json, good and bad ones.

Every answer must have a status, a content type, headers and a body that the description names for its route; what
the description allows is not refused, and what it does not allow is.
"""

import json
import urllib.parse
from collections import Counter

import hypothesis
import pytest
import requests.auth
import schemathesis
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from cluster import ROOT
from conftest import destroy_all
from sign import signed_headers

SETTINGS = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(hypothesis.HealthCheck),
}
# Requests for each operation.
EXAMPLES = 80
# Streams go on; their own tests read them.
STREAMS = {"openTerminal", "streamExecution", "streamEvents"}
# What a healthy cluster answers: routes that never came, agents without room.
NAMED_FAULTS = {"not-implemented", "instance-not-available"}
# Valid requests that something else stands against, and not with a status of its own.
CONFLICTS = {"kernel-already-exists", "folder-already-exists", "quota-exceeded"}
# Operations on files, which may not be there.
OF_FILES = {"listFolderFiles", "downloadFolderFiles", "deleteFolderFiles", "makeFolderDirectory", "uploadFolderFiles"}
OF_SESSION_FILES = {"listSessionFiles", "downloadSessionFiles", "uploadSessionFiles"}
# What agents raise where they are not.
OS_ERRORS = {"FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "FileExistsError", "OSError"}
# Programs that do no harm, in place of generated text that a kernel would run.
SNIPPETS = ["", "1 + 1", "print('hello')", "import sys; print('e', file=sys.stderr)", "1 / 0", "(", "x = 'é'"]
QUERIES = ["{ keypair { access_key rate_limit } }", "{ vfolders { name } }", "{ compute_sessions { sess_id } }"]
COMMANDS = ["", "*", "true", "false", "echo built", "exit 3"]


class Signature(requests.auth.AuthBase):
    """Signs requests as they are sent, and counts them."""

    def __init__(self, client):
        self.client = client
        self.sent = Counter()
        self.operations = set()

    def __call__(self, request):
        url = urllib.parse.urlsplit(request.url)
        target = url.path + (f"?{url.query}" if url.query else "")
        key = self.client.access_key, self.client.secret_key
        content_type = request.headers.get("Content-Type")
        headers = signed_headers(request.method, target, self.client.host, *key, content_type=content_type)
        request.headers.update(headers)
        self.sent[request.method] += 1
        return request


@pytest.fixture(scope="module")
def signature(cluster):
    """A key pair for a few thousand requests."""
    client = cluster.new_key(concurrency_limit=20, rate_limit=1_000_000)
    yield Signature(client)
    remove_all(cluster, client)


def remove_all(cluster, client):
    """Leaves a key without sessions and folders."""
    destroy_all(cluster, client)
    for folder in client.signed("GET", "/v4/folders").json:
        assert client.signed("DELETE", f"/v4/folders/{folder['name']}?force=true").status == 204


def operation_id(context):
    return context.operation.definition.raw.get("operationId")


def pick(values, text):
    """One of the values, always the same for a text."""
    return values[sum(str(text).encode()) % len(values)]


def map_body(context, body):
    """Texts that name nothing are made to name what there is, mostly; code and commands are made harmless."""
    if not isinstance(body, dict):
        return body
    body = dict(body)
    if isinstance(body.get("lang"), str) and len(body["lang"]) % 4:
        body["lang"] = pick(["python", "c", "lua"], body["lang"])
    config = body.get("config")
    if isinstance(config, dict) and config.get("mounts") and len(str(config)) % 8:
        body["config"] = {**config, "mounts": []}
    if operation_id(context) == "createFolder":
        match body.get("host"):
            case str():
                body["host"] = "local"
            case [str()]:
                body["host"] = ["local"]
    if operation_id(context) == "queryGraphql" and isinstance(body.get("query"), str):
        body["query"] = pick(QUERIES, body["query"])
        if isinstance(body.get("operationName"), str):
            body["operationName"] = None
    if operation_id(context) == "executeCode":
        if isinstance(body.get("code"), str):
            body["code"] = pick(SNIPPETS, body["code"])
        if isinstance(body.get("options"), dict):
            steps = {step: pick(COMMANDS, step) for step in ("clean", "build", "exec") if len(str(body)) % 2}
            body["options"] = {**body["options"], **steps}
    return body


def map_query(context, query):
    """Nearly all requests act for their own key."""
    owner = (query or {}).get("owner_access_key")
    if owner is None or len(str(owner)) % 8 == 0:
        return query
    return {name: value for name, value in query.items() if name != "owner_access_key"}


def no_fault(ctx, response, case):
    """5xx only where it says that the gateway and its agents are well."""
    if response.status_code < 500:
        return
    exception = json.loads(response.content).get("agent-details", {}).get("exception", "")
    if operation_id(case) in OF_SESSION_FILES and exception.partition("(")[0] in OS_ERRORS:
        return
    if slug_of(response) not in NAMED_FAULTS:
        raise Failure(operation=case.operation.label, title="A fault", message=response.content.decode())


def accepts_what_is_described(ctx, response, case):
    """What the description allows is not refused, unless something else stands against it."""
    if response.status_code in (400, 412) and slug_of(response) in CONFLICTS:
        return
    if operation_id(case) in OF_FILES and response.status_code == 400:
        return
    checks.positive_data_acceptance(ctx, response, case)


def refuses_what_is_not(ctx, response, case):
    """What the description does not allow is refused: for what is wrong with it, or for its size."""
    if response.status_code not in (413, 414, 431):
        checks.negative_data_rejection(ctx, response, case)


def slug_of(response):
    return json.loads(response.content)["type"].rpartition("/")[2]


load_all_checks()
CHECKS = [
    no_fault,
    accepts_what_is_described,
    refuses_what_is_not,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]
# What was made is there until it is ended, and not any more then.
STATEFUL_CHECKS = [*CHECKS, checks.use_after_free, checks.ensure_resource_availability]

def how_to_call(case, cluster, signature):
    """Where to, and signed; where the headers are what is wrong, they are sent as they are."""
    is_unsigned = case.meta.is_negative_at(ParameterLocation.HEADER)
    return {"base_url": f"{cluster.endpoint}/v4", "auth": None if is_unsigned else signature, "timeout": 30}


SCHEMA = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.json")
for hook in (map_body, map_query):
    SCHEMA.hook(hook)


def test_the_document_is_served(cluster, client):
    for prefix in ("", "/v1", "/v4"):
        answer = client.plain("GET", f"{prefix}/openapi.json")
        assert answer.status == 200 and answer.headers.get_content_type() == "application/json", answer
        assert answer.json == SCHEMA.raw_schema


def test_the_page_is_served(cluster):
    status, page = cluster.admin("/docs")
    assert status == 200 and page.startswith("<!DOCTYPE html>") and "POST /kernel/create" in page


def test_the_manager_prints_it(cluster):
    done = cluster.program("backendai-manager", "openapi")
    assert done.returncode == 0 and json.loads(done.stdout) == SCHEMA.raw_schema, done.stderr


@SCHEMA.exclude(lambda context: operation_id(context) in STREAMS).parametrize()
@hypothesis.settings(max_examples=EXAMPLES, **SETTINGS)
def test_answers_are_as_described(case, cluster, signature):
    signature.operations.add(operation_id(case))
    case.call_and_validate(checks=CHECKS, **how_to_call(case, cluster, signature))


def test_a_few_thousand_requests_were_made(request, signature):
    """By the test above: for each operation, unless somebody selected fewer."""
    described = {one["operationId"] for path in SCHEMA.raw_schema["paths"].values() for one in operations_of(path)}
    selected = [one for one in request.session.items if one.originalname == "test_answers_are_as_described"]
    if len(selected) < len(described - STREAMS):
        pytest.skip(f"{len(selected)} operations were selected")
    assert signature.operations == described - STREAMS
    print(signature.sent.total(), "requests:", signature.sent)
    assert signature.sent.total() >= 2000, signature.sent


def operations_of(path):
    return [one for one in path.values() if isinstance(one, dict) and "operationId" in one]


WALKS = {
    "Sessions": {"createSession", "getSession", "executeCode", "destroySession"},
    "Virtual folders": {"createFolder", "getFolder", "listFolderFiles", "deleteFolder"},
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tag", WALKS)
def test_answers_lead_to_other_calls(cluster, signature, tag):
    """Things are made, used and ended along the links of the description, in any order that these allow."""
    succeeded = Counter()

    class Walk(SCHEMA.include(tag=tag).exclude(operation_id="createSessionInCollection").as_state_machine()):
        def teardown(self):
            super().teardown()
            remove_all(cluster, signature.client)

        def get_call_kwargs(self, case):
            return how_to_call(case, cluster, signature)

        def after_call(self, response, case):
            super().after_call(response, case)
            if response.status_code < 300:
                succeeded[operation_id(case)] += 1

        def validate_response(self, response, case, **options):
            case.validate_response(response, checks=STATEFUL_CHECKS, transport_kwargs=self.get_call_kwargs(case))

    phases = [hypothesis.Phase.generate]
    Walk.run(settings=hypothesis.settings(max_examples=20, stateful_step_count=10, phases=phases, **SETTINGS))
    assert WALKS[tag] <= set(succeeded), succeeded
