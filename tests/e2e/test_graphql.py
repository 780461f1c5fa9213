"""The admin API over HTTP: forms of answers, statistics of real sessions, changes that every worker knows at once."""

import re
import uuid

import pytest

from api import eventually

GRAPHQL = "application/graphql-response+json"


def ask(client, query, variables=None, path="/v4/admin/graphql", headers=None, **members):
    return client.signed("POST", path, {"query": query, "variables": variables, **members}, headers=headers)


def data(client, query, variables=None):
    """What a query that goes well answers: the data itself."""
    answer = ask(client, query, variables)
    assert answer.status == 200, answer
    assert answer.headers.get_content_type() == "application/json"
    return answer.json


@pytest.fixture
def admin(cluster):
    return cluster.new_key(is_admin=True)


@pytest.fixture
def made(cluster, admin):
    """A key pair made by a mutation, and how to sign with it."""
    create = """mutation($user_id: Int!, $input: KeyPairInput!) {
        create_keypair(user_id: $user_id, props: $input) { ok msg keypair { access_key secret_key } }
    }"""
    props = {"is_active": True, "resource_policy": "default", "concurrency_limit": 3, "rate_limit": 500}
    result = data(admin, create, {"user_id": 77, "input": props})["create_keypair"]
    assert (result["ok"], result["msg"]) == (True, "success"), result
    client = cluster.new_key()
    client.access_key, client.secret_key = result["keypair"]["access_key"], result["keypair"]["secret_key"]
    return client


# Forms of answers


@pytest.mark.parametrize("path", ["/v4/admin/graphql", "/v2/admin/graphql", "/admin/graphql"])
def test_the_answer_is_the_data_itself(client, path):
    version = "v2.20170315" if "v2" in path else "v4.20181215"
    query = "{ keypair { access_key is_active rate_limit } }"
    answer = client.as_version(version).signed("POST", path, {"query": query})
    assert answer.status == 200, answer
    assert answer.json == {"keypair": {"access_key": client.access_key, "is_active": True, "rate_limit": 30000}}


@pytest.mark.parametrize("query", ["{", "", "{ nothing }", "{ keypair }", "subscription { keypair { access_key } }"])
def test_a_query_that_is_none_is_a_problem(client, query):
    assert ask(client, query).problem == (400, "invalid-api-params")


def test_an_unknown_status_is_named(client):
    answer = ask(client, '{ compute_sessions(status: "ALIVE") { id } }')
    assert answer.problem == (400, "invalid-api-params")
    assert "ALIVE" in answer.json["title"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"query": 1}', b'{"query": "{ a }", "variables": []}', b'{"query": "{ a }", "operationName": 1}']
)
def test_a_body_that_asks_nothing_is_a_problem(client, body):
    assert client.signed("POST", "/v4/admin/graphql", body).problem == (400, "invalid-api-params")


def test_graphql_over_http(client):
    headers = {"Accept": f"application/json;q=0.9, {GRAPHQL}"}
    good = ask(client, "{ keypair { access_key } }", headers=headers)
    assert (good.status, good.headers.get_content_type()) == (200, GRAPHQL)
    assert good.json == {"data": {"keypair": {"access_key": client.access_key}}}
    bad = ask(client, "{ nothing }", headers=headers)
    assert (bad.status, bad.headers.get_content_type()) == (400, GRAPHQL)
    assert "nothing" in bad.json["errors"][0]["message"] and "data" not in bad.json
    half = ask(client, '{ keypair { access_key } compute_sessions(status: "X") { id } }', headers=headers)
    assert half.status == 200
    assert half.json["data"] == {"keypair": {"access_key": client.access_key}, "compute_sessions": None}
    assert half.json["errors"][0]["path"] == ["compute_sessions"]
    broken = client.signed("POST", "/v4/admin/graphql", b"{", headers=headers)
    assert broken.status == 400 and broken.json["errors"]


def test_variables_and_operation_names(client):
    query = "query a { vfolders { id } } query b($status: String) { compute_sessions(status: $status) { id } }"
    answer = ask(client, query, {"status": "RUNNING", "unused": None}, operationName="b")
    assert answer.json == {"compute_sessions": []}


def test_a_store_that_fails_is_a_general_error(cluster, admin):
    cluster.sql("ALTER TABLE vfolders RENAME TO vfolders_away")
    try:
        answer = ask(admin, "{ vfolders { id } }")
    finally:
        cluster.sql("ALTER TABLE vfolders_away RENAME TO vfolders")
    assert answer.problem == (500, "general-error")
    assert "vfolders" not in answer.json["title"]


# Limits


@pytest.mark.parametrize(
    "limit, query",
    [
        ("depth", "{ keypair " + "{ compute_sessions { workers " * 25 + "{ id }" + "} }" * 25 + " }"),
        ("root fields", "{" + " ".join(f"a{n}: keypair {{ access_key }}" for n in range(10000)) + "}"),
        ("nesting", "{ keypair " * 100000),
    ],
)
def test_a_query_that_asks_for_too_much_is_told_which_limit(client, limit, query):
    answer = ask(client, query)
    assert answer.problem == (400, "invalid-api-params")
    assert f"limit of {limit}" in answer.json["title"]


def test_a_body_of_two_megabytes_is_refused(client):
    answer = ask(client, "{ keypair { access_key } }" + " " * 2_000_000)
    assert answer.problem == (413, "body-too-large")


# Sessions


def test_a_real_session_with_its_statistics(cluster, client, admin):
    token = client.started("python")
    client.run(token, "x = 'y' * 1000")
    fields = """sess_id id role lang status agent container_id created_at terminated_at mem_slot cpu_slot num_queries
        cpu_used mem_max_bytes mem_cur_bytes"""

    def session(who, **variables):
        query = "query($ak: String) { compute_sessions(access_key: $ak) { %s } }" if variables else "{ compute_sessions { %s } }"
        return data(who, query % fields, variables or None)["compute_sessions"][0]

    def measured():
        found = session(client)
        return found if found["mem_max_bytes"] > 0 else None

    live = eventually(measured, seconds=30)
    assert (live["sess_id"], live["role"], live["status"], live["terminated_at"]) == (token, "master", "RUNNING", None)
    assert uuid.UUID(live["id"]) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00", live["created_at"])
    info = client.info(token).json
    assert session(client)["num_queries"] == info["numQueriesExecuted"]
    seen = session(admin, ak=client.access_key)
    assert (seen["id"], seen["num_queries"]) == (live["id"], info["numQueriesExecuted"])
    assert client.destroy(token).status == 200
    ended = session(client)
    assert ended["status"] == "TERMINATED" and ended["terminated_at"] and ended["mem_cur_bytes"] == 0
    assert ended["mem_max_bytes"] > 0
    page = "{ compute_session_list(limit: 1, offset: 0) { items { sess_id } total_count } }"
    assert data(client, page) == {"compute_session_list": {"items": [{"sess_id": token}], "total_count": 1}}


def test_queries_of_a_key_are_counted_exactly_at_once(client, admin):
    before = data(admin, '{ keypair(access_key: "%s") { num_queries } }' % client.access_key)["keypair"]["num_queries"]
    assert before == 0
    for n in range(1, 40):
        # This very query is one of them.
        assert data(client, "{ keypair { num_queries } }") == {"keypair": {"num_queries": n}}


def test_agents(admin):
    agents = data(admin, '{ agents(status: "ALIVE") { id status addr mem_slots computations(status: "ERROR") { id } } }')
    (agent,) = agents["agents"]
    assert agent["status"] == "ALIVE" and agent["addr"].startswith("tcp://") and agent["mem_slots"] > 0
    assert data(admin, '{ agent(agent_id: "%s") { id } }' % agent["id"]) == {"agent": {"id": agent["id"]}}


# Who sees what


def test_other_keys_are_an_admins_to_see(cluster, client, admin):
    query = '{ keypair(access_key: "%s") { secret_key } }' % client.access_key
    assert data(admin, query)["keypair"] == {"secret_key": client.secret_key}
    other = cluster.new_key()
    assert ask(other, query).problem == (400, "invalid-api-params")
    assert ask(other, 'mutation { delete_keypair(access_key: "%s") { ok } }' % client.access_key).status == 400
    assert data(admin, query)["keypair"] == {"secret_key": client.secret_key}


def test_tools_learn_the_schema(client, admin):
    query = "{ __schema { types { name } } }"
    names = {who: {it["name"] for it in data(key, query)["__schema"]["types"]} for who, key in (("user", client), ("admin", admin))}
    assert "Agent" in names["admin"] and "Agent" not in names["user"] and "ComputeSession" in names["user"]


# Key pairs


def test_a_made_key_works_on_every_worker(made):
    for _ in range(20):  # each on a connection of its own, so on any worker
        assert data(made, "{ keypair { access_key } }") == {"keypair": {"access_key": made.access_key}}


def test_changes_reach_every_worker(admin, made):
    def set_active(active):
        query = "mutation($ak: String!, $on: Boolean) { modify_keypair(access_key: $ak, props: {is_active: $on}) { ok msg } }"
        result = data(admin, query, {"ak": made.access_key, "on": active})
        assert result == {"modify_keypair": {"ok": True, "msg": "success"}}

    def everywhere(status):
        return all(made.signed("GET", "/v4/auth", {"echo": "a"}).status == status for _ in range(20))

    assert everywhere(200)
    set_active(False)
    eventually(lambda: everywhere(401), seconds=5)
    set_active(True)
    eventually(lambda: everywhere(200), seconds=5)


def test_deleting(cluster, admin, made):
    delete = "mutation($ak: String!) { delete_keypair(access_key: $ak) { ok msg } }"
    token = made.started("python")
    assert made.destroy(token).status == 200
    in_use = data(admin, delete, {"ak": made.access_key})["delete_keypair"]
    assert in_use["ok"] is False and in_use["msg"]
    cluster.sql(f"DELETE FROM kernels WHERE access_key = '{made.access_key}'")
    assert data(admin, delete, {"ak": made.access_key})["delete_keypair"] == {"ok": True, "msg": "success"}
    eventually(lambda: made.signed("GET", "/v4/auth", {"echo": "a"}).status == 401, seconds=5)
    assert data(admin, delete, {"ak": made.access_key})["delete_keypair"]["ok"] is False


# The command line


@pytest.mark.parametrize("whose", ["admin", "user"])
def test_gql_schema_prints_what_is_served(cluster, whose, client, admin):
    done = cluster.program("backendai-manager", "gql-schema", whose)
    assert done.returncode == 0, done.stderr
    told = data({"admin": admin, "user": client}[whose], "{ __schema { types { name } } }")["__schema"]["types"]
    for name in (it["name"] for it in told if not it["name"].startswith("__")):
        if name not in ("Boolean", "Float", "Int", "String", "ID"):
            assert re.search(rf"^(type|input|scalar) {name}\b", done.stdout, re.M), name
