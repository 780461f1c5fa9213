"""What administrators do to sessions, agents and images, and the audit log of it."""

import json
import uuid

import pytest

from api import eventually, new_token


def ask(admin, query, **variables):
    answer = admin.signed("POST", "/v4/admin/graphql", {"query": query, "variables": variables})
    assert answer.status == 200, answer
    return answer.json


def change(admin, call, fields="ok msg"):
    """The answer of one mutation, as `name(arguments)`."""
    return ask(admin, "mutation { it: %s { %s } }" % (call, fields))["it"]


def done(admin, call):
    assert change(admin, call) == {"ok": True, "msg": "success"}, call


def audited(admin, **filters):
    """Entries of the audit log, newest first."""
    arguments = ", ".join(f"{name}: {json.dumps(value)}" for name, value in filters.items())
    fields = "id at actor via source request_id action target_type target detail outcome message ended_at"
    return ask(admin, "{ audit_log(%s) { %s } }" % (arguments, fields))["audit_log"]


@pytest.fixture
def admin(cluster):
    return cluster.new_key(is_admin=True)


@pytest.fixture
def agent(cluster, admin):
    """The agent's id; it takes sessions again afterwards."""
    (row,) = ask(admin, '{ agents(status: "ALIVE") { id } }')["agents"]
    yield row["id"]
    cluster.sql("UPDATE agents SET schedulable = true, drain_at = NULL")


# Sessions


def test_a_session_is_ended_and_one_restarted(admin, client):
    token, other = client.started(), client.started()
    client.run(token, "x = 1")
    done(admin, f'restart_session(sess_id: "{token}")')
    _, console = client.run(token, "print('x' in globals())")
    assert console == [["stdout", "False\n"]]
    done(admin, f'terminate_session(sess_id: "{token}")')
    assert client.info(token).problem == (404, "kernel-not-found")
    assert client.info(other).status == 200
    again = change(admin, f'terminate_session(sess_id: "{token}")')
    assert again == {"ok": False, "msg": f'there is no live session "{token}"'}
    assert [(it["action"], it["outcome"]) for it in audited(admin, target=token)] == [
        ("terminate_session", "refused"),
        ("terminate_session", "done"),
        ("restart_session", "done"),
    ]


def test_whose_session_has_to_be_said_where_two_have_one(cluster, admin, client):
    other = cluster.new_key()
    token = client.started()
    assert other.create(token).json["created"] is True
    refused = change(admin, f'terminate_session(sess_id: "{token}")')
    assert refused["ok"] is False and client.access_key in refused["msg"] and other.access_key in refused["msg"]
    done(admin, f'terminate_session(sess_id: "{token}", access_key: "{other.access_key}")')
    assert (client.info(token).status, other.info(token).status) == (200, 404)


def test_the_leader_ends_what_is_marked(cluster, client):
    token = client.started()
    client.run(token, "x = 1")
    marked = cluster.sql(
        f"SELECT backendai_sessions_to_end(ARRAY(SELECT id FROM kernels WHERE sess_id = '{token}'), 'admin-requested')"
    )
    assert len(marked) == 1
    row = f"SELECT status, status_info FROM kernels WHERE sess_id = '{token}'"
    eventually(lambda: cluster.sql(row) == [["TERMINATED", "admin-requested"]], seconds=20)
    assert client.info(token).problem == (404, "kernel-not-found")


# Agents


def test_a_cordoned_agent_gets_no_sessions_and_keeps_its_own(admin, client, agent):
    token = client.started()
    answer = change(admin, f'cordon_agent(agent_id: "{agent}")', "ok agent { schedulable }")
    assert answer == {"ok": True, "agent": {"schedulable": False}}
    assert client.create().problem == (503, "instance-not-available")
    assert client.info(token).status == 200
    done(admin, f'uncordon_agent(agent_id: "{agent}")')
    assert client.destroy(client.started()).status == 200


def test_a_drained_agent_loses_its_sessions(cluster, admin, client, agent):
    tokens = [client.started() for _ in range(5)]
    done(admin, f'drain_agent(agent_id: "{agent}", grace: 3600)')
    assert client.info(tokens[0]).status == 200
    assert client.create().problem == (503, "instance-not-available")
    done(admin, f'drain_agent(agent_id: "{agent}")')
    names = ", ".join(f"'{token}'" for token in tokens)
    ended = f"SELECT DISTINCT status, status_info FROM kernels WHERE sess_id IN ({names})"
    eventually(lambda: cluster.sql(ended) == [["TERMINATED", "agent-drained"]], seconds=30)
    assert all(client.info(token).status == 404 for token in tokens)
    assert cluster.sql(f"SELECT used_mem_slots, used_cpu_slots FROM agents WHERE id = '{agent}'") == [["0", "0"]]


# Placement


def test_why_a_session_is_placed_where_it_is(admin, client, agent):
    query = """query($lang: String!, $config: SessionConfig) { explain_placement(lang: $lang, config: $config) {
        lang mem_slot cpu_slot chosen agents { agent free_mem_slots free_cpu_slots fits reason } } }"""
    found = ask(admin, query, lang="python", config={"instance_memory": 64})["explain_placement"]
    assert found["lang"].startswith("python:") and found["mem_slot"] == 64 and found["chosen"] == agent
    assert [(it["agent"], it["fits"], it["reason"]) for it in found["agents"]][0] == (agent, True, None)
    done(admin, f'cordon_agent(agent_id: "{agent}")')
    found = ask(admin, query, lang="python")["explain_placement"]
    reasons = {it["agent"]: it["reason"] for it in found["agents"]}
    assert found["chosen"] is None and reasons[agent] == "cordoned"
    unknown = admin.signed("POST", "/v4/admin/graphql", {"query": query, "variables": {"lang": "nothing"}})
    assert unknown.problem == (400, "invalid-api-params") and "nothing" in unknown.json["title"]


# Images


def test_images_and_aliases_are_added_and_removed(admin, client):
    image, alias = "made-" + uuid.uuid4().hex[:8], "alias-" + uuid.uuid4().hex[:8]

    def known():
        images = ask(admin, "{ images { name tag hash aliases } }")["images"]
        return [(it["tag"], it["hash"], it["aliases"]) for it in images if it["name"] == image]

    done(admin, f'add_image(name: "{image}", tag: "1", hash: "sha256:1", cpu: 1, mem: 64)')
    eventually(lambda: known() == [("1", "sha256:1", [])], seconds=5)
    done(admin, f'add_alias(alias: "{alias}", target: "{image}:1")')
    done(admin, f'add_image(name: "{image}", tag: "2", hash: "sha256:2")')
    eventually(lambda: known() == [("1", "sha256:1", [alias]), ("2", "sha256:2", [])], seconds=5)
    done(admin, f'remove_image(name: "{image}", tag: "2")')
    eventually(lambda: known() == [("1", "sha256:1", [alias])], seconds=5)
    done(admin, f'remove_alias(alias: "{alias}")')
    done(admin, f'remove_image(name: "{image}")')
    eventually(lambda: known() == [], seconds=5)
    assert client.create(lang=image).problem == (404, "image-not-found")


# Key pairs


def test_a_rotated_secret_takes_effect_on_every_worker(cluster, admin):
    made = cluster.new_key()
    old = made.secret_key

    def everywhere(status):
        return all(made.signed("GET", "/v4/auth", {"echo": "a"}).status == status for _ in range(20))

    assert everywhere(200)
    answer = change(admin, f'rotate_keypair(access_key: "{made.access_key}")', "ok keypair { secret_key }")
    eventually(lambda: everywhere(401), seconds=5)
    made.secret_key = answer["keypair"]["secret_key"]
    assert everywhere(200)
    (entry,) = audited(admin, target=made.access_key)
    assert entry["outcome"] == "done" and old not in str(entry) and made.secret_key not in str(entry)


# The audit log


def test_what_an_admin_does_for_another_is_noted(admin, client):
    token, owner = new_token(), f"owner_access_key={client.access_key}"
    body = {"lang": "python", "clientSessionToken": token}
    assert admin.signed("POST", f"/v4/kernel/create?{owner}", body).status == 201
    assert admin.signed("GET", f"/v4/kernel/{token}?{owner}").status == 200
    answer = admin.signed("DELETE", f"/v4/kernel/{token}?{owner}", headers={"X-Request-ID": "an-admins-own"})
    assert answer.status == 200
    assert admin.signed("POST", f"/v4/kernel/create?{owner}", {**body, "lang": "nothing"}).status == 404
    refused, ended, made = audited(admin, target=token)
    expected = {"actor": admin.access_key, "via": "rest", "source": "127.0.0.1", "target_type": "session"}
    assert all(expected.items() <= entry.items() for entry in (refused, ended, made))
    assert (made["action"], made["outcome"]) == ("POST /kernel/create", "done")
    assert (ended["action"], ended["outcome"]) == ("DELETE /kernel/{id}", "done")
    assert ended["request_id"] == "an-admins-own" and json.loads(ended["detail"]) == {"owner": client.access_key}
    assert refused["outcome"] == "refused" and "nothing" in refused["message"]


def test_what_a_key_does_for_itself_is_not(admin, client):
    token = client.started()
    assert client.destroy(token).status == 200
    assert audited(admin, target=token) == []


def test_an_action_that_cannot_be_noted_is_not_done(cluster, admin, client):
    token = client.started()
    cluster.sql("ALTER TABLE audit_log RENAME TO audit_log_away")
    try:
        url = f"/v4/kernel/{token}?owner_access_key={client.access_key}"
        assert admin.signed("DELETE", url).status >= 500
        query = {"query": f'mutation {{ terminate_session(sess_id: "{token}") {{ ok }} }}'}
        assert admin.signed("POST", "/v4/admin/graphql", query).problem == (500, "general-error")
    finally:
        cluster.sql("ALTER TABLE audit_log_away RENAME TO audit_log")
    assert client.info(token).status == 200
