"""Creating, seeing and ending sessions."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from api import A_SECOND, eventually, new_token

NULLS = {"mounts": [], "environ": None, "instanceMemory": None, "instanceCores": None, "instanceGPUs": None}


def live_rows(cluster, client):
    """How many of a key's sessions the database holds as live."""
    states = "'PREPARING', 'BUILDING', 'RUNNING', 'RESTARTING', 'RESIZING', 'SUSPENDED', 'TERMINATING'"
    ((count,),) = cluster.sql(
        f"SELECT count(*) FROM kernels WHERE access_key = '{client.access_key}' AND status IN ({states})"
    )
    return int(count)


def concurrency_used(cluster, client):
    ((count,),) = cluster.sql(f"SELECT concurrency_used FROM keypairs WHERE access_key = '{client.access_key}'")
    return int(count)


def refused(answer, member):
    """An invalid-api-params that names the member."""
    assert answer.problem == (400, "invalid-api-params")
    assert member in answer.json["title"], answer


# Creating


@pytest.mark.parametrize("path", ["/v4/kernel/create", "/v4/kernel/", "/v4/kernel", "/v3/kernel/create", "/kernel/create"])
def test_create(client, path):
    token = new_token()
    version = "v3.20170615" if path.startswith("/v3") else "v4.20181215"
    answer = client.signed("POST", path, {"lang": "python", "clientSessionToken": token}, version=version)
    assert answer.status == 201
    assert answer.json == {"kernelId": token, "created": True}


def test_the_same_token_again_is_the_same_session(cluster, client, session):
    client.run(session, "x = 'still here'")
    answer = client.create(session)
    assert answer.status == 201 and answer.json == {"kernelId": session, "created": False}, answer
    assert client.run(session, "print(x)")[1] == [["stdout", "still here\n"]]
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 1


def test_the_same_token_and_another_image(cluster, client, session):
    other = cluster.other_image("python")
    assert client.create(session, lang=other).problem == (400, "kernel-already-exists")
    assert client.info(session).status == 200


def test_reuse_can_be_refused(client, session):
    assert client.create(session, reuseIfExists=False).problem == (400, "kernel-already-exists")
    assert client.create(session, reuseIfExists=True).json["created"] is False
    assert client.create(reuseIfExists=False).json["created"] is True


def test_a_session_that_is_about_to_end_is_waited_for(cluster, client):
    """It is in nobody's way: not of another image, and not where it must not be reused."""
    in_flight = lambda: sum(cluster.metric("backendai_requests_in_flight").values())  # noqa: E731
    for wish in ({"lang": cluster.other_image("python")}, {"reuseIfExists": False}):
        token = client.started()
        of_it = f"access_key = '{client.access_key}' AND sess_id = '{token}'"
        cluster.sql(f"UPDATE kernels SET status = 'TERMINATING', status_changed = now() WHERE {of_it}")
        with ThreadPoolExecutor(1) as pool:
            wished = pool.submit(client.create, token, **wish)
            eventually(in_flight)
            assert not wished.done()
            finish = "backendai_session_finish(id, 'TERMINATED', 'test', '{}')"
            cluster.sql(f"SELECT {finish} FROM kernels WHERE {of_it} AND status = 'TERMINATING'")
            assert wished.result().status == 201 and wished.result().json["created"] is True, wished.result()
        assert client.destroy(token).status == 200


@pytest.mark.parametrize("token", ["a.b-c_D9", "abcd", "0000", "x" * 64, "kernel-create", "...."])
def test_good_tokens(client, token):
    answer = client.create(token)
    assert answer.status == 201 and answer.json["kernelId"] == token, answer
    assert client.destroy(token).status == 200


@pytest.mark.parametrize("token", ["", "abc", "x" * 65, "with space", "with/slash", "späß", "a%41bc", "abcd\n", 12345, None, ["abcd"], True])
def test_bad_tokens(client, token):
    answer = client.signed("POST", "/v4/kernel/create", {"lang": "python", "clientSessionToken": token})
    refused(answer, "clientSessionToken")


def test_no_token(client):
    refused(client.signed("POST", "/v4/kernel/create", {"lang": "python"}), "clientSessionToken")


@pytest.mark.parametrize("lang", ["", None, 5, ["python"], {}])
def test_bad_lang(client, lang):
    refused(client.create(lang=lang), "lang")


def test_no_lang(client):
    refused(client.signed("POST", "/v4/kernel/create", {"clientSessionToken": new_token()}), "lang")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"lang": "python",}'])
def test_a_body_that_is_no_object(client, body):
    assert client.signed("POST", "/v4/kernel/create", body).problem == (400, "invalid-api-params")


@pytest.mark.parametrize("lang", ["no-such-image", "python:no-such-tag", "../python", "python/../..", "a" * 300, ":", "_aliases"])
def test_an_unknown_image(cluster, client, lang):
    assert client.create(lang=lang).problem == (404, "image-not-found")
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 0


def test_an_image_by_name_tag_and_alias(cluster, client):
    name, tag = cluster.image("python")
    full = client.started(lang=f"{name}:{tag}")
    assert client.info(full).json["lang"] == f"{name}:{tag}"
    cluster.etcd("put", f"images/_aliases/{full}", f"{name}:{tag}")
    # Workers act on a change of an alias within a second.
    answer = eventually(lambda: (found := client.create(lang=full)).status == 201 and found, seconds=A_SECOND)
    assert client.info(answer.json["kernelId"]).json["lang"] == f"{name}:{tag}"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("mounts", "data"),
        ("mounts", [5]),
        ("mounts", {}),
        ("environ", ["A=b"]),
        ("environ", "A=b"),
        ("environ", {"A": ["b"]}),
        ("clusterSize", "one"),
        ("clusterSize", 0),
        ("clusterSize", 1.5),
        ("instanceMemory", "plenty"),
        ("instanceMemory", [512]),
        ("instanceMemory", -1),
        ("instanceCores", "all"),
        ("instanceCores", -1),
        ("instanceGPUs", {}),
        ("instanceGPUs", -0.5),
    ],
)
def test_bad_config(cluster, client, member, value):
    refused(client.create(config={member: value}), member)
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 0


@pytest.mark.parametrize("config", ["x", 5, [1]])
def test_a_config_that_is_no_object(client, config):
    refused(client.create(config=config), "config")


@pytest.mark.parametrize("member", ["tag", "reuseIfExists"])
def test_optional_members_of_a_wrong_type(client, member):
    refused(client.create(**{member: [1]}), member)


def test_nulls_stand_for_what_is_left_out(client):
    """What the released clients 1.3 to 1.5 send."""
    client.started(config=NULLS)


def test_members_of_old_clients_are_ignored(client):
    """What the released client 1.0.6 sends."""
    client.started(limits={"maxMem": 0, "execTimeout": 0}, mounts=[])


def test_config_is_ignored_in_version_1(client):
    client.as_version("v1.20160915").started(config={"mounts": "data"})


def test_environ_reaches_the_kernel(client):
    token = client.started(config={"environ": {"GREETING": "ünïcode and = signs", "EMPTY": ""}})
    _, console = client.run(token, "import os; print(os.environ['GREETING'], repr(os.environ['EMPTY']))")
    assert console == [["stdout", "ünïcode and = signs ''\n"]]


# Quotas


def test_the_concurrency_limit(cluster):
    client = cluster.new_key(concurrency_limit=2)
    first, second = client.started(), client.started()
    answer = client.create()
    assert answer.problem == (412, "quota-exceeded")
    assert client.create(first).json["created"] is False
    assert client.destroy(first).status == 200
    third = client.started()
    assert client.create().status == 412
    for token in (second, third):
        client.destroy(token)
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 0


def test_the_concurrency_limit_holds_against_a_rush(cluster):
    client = cluster.new_key(concurrency_limit=3)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.create(), range(12)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [412] * 9
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 3
    for answer in answers:
        if answer.status == 201:
            client.destroy(answer.json["kernelId"])


def test_a_client_may_ask_for_less_than_the_image_has_and_not_get_more(client):
    usual = client.info(client.started()).json["memoryLimit"]
    less = client.started(config={"instanceMemory": usual // 1024 // 2})
    assert client.info(less).json["memoryLimit"] == usual // 1024 // 2 * 1024
    more = client.started(config={"instanceMemory": 1 << 30})
    assert client.info(more).json["memoryLimit"] == usual


def test_an_image_that_no_agent_has_room_for(cluster, client):
    for key, value in (("cpu", "1"), ("mem", "100000000"), ("gpu", "0"), ("tags/latest", "none")):
        cluster.etcd("put", f"images/huge/{key}", value)
    cluster.etcd("put", "images/huge", "1")
    answer = eventually(lambda: (found := client.create(lang="huge")).status != 404 and found)
    assert answer.problem == (503, "instance-not-available")
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 0


def test_two_at_once_with_one_token_create_one_session(cluster, client):
    for _ in range(5):
        token = new_token()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(client.create, [token] * 8))
        assert [answer.status for answer in answers] == [201] * 8, answers
        assert sum(answer.json["created"] for answer in answers) == 1
        assert live_rows(cluster, client) == concurrency_used(cluster, client) == 1
        client.destroy(token)


# Seeing


def test_info(cluster, client, session):
    info = client.info(session)
    assert info.status == 200
    name, tag = cluster.image("python")
    told = info.json
    assert told["lang"] == f"{name}:{tag}"
    for unused in ("queryTimeout", "idleTimeout", "maxCpuCredit", "idle"):
        assert told[unused] == -1, told
    assert isinstance(told["age"], int) and 0 <= told["age"] < 120_000
    assert isinstance(told["memoryLimit"], int) and told["memoryLimit"] > 0
    assert told["memoryUsed"] >= 0 and told["cpuCreditUsed"] >= 0
    assert told["numQueriesExecuted"] == 1
    assert set(told) >= {"lang", "age", "queryTimeout", "idleTimeout", "memoryLimit", "maxCpuCredit",
                         "numQueriesExecuted", "idle", "memoryUsed", "cpuCreditUsed"}  # fmt: skip


def test_queries_are_counted_exactly_on_every_worker(client, session):
    for number in range(1, 17):
        assert client.info(session).json["numQueriesExecuted"] == number
    client.run(session, "print(1)")
    assert client.info(session).json["numQueriesExecuted"] == 18
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: client.info(session), range(81)))
    assert client.info(session).json["numQueriesExecuted"] == 100


def test_counts_reach_the_database(cluster, client, session):
    for _ in range(9):
        client.info(session)
    query = f"SELECT num_queries FROM kernels WHERE sess_id = '{session}'"
    eventually(lambda: cluster.sql(query) == [["9"]], seconds=60)
    key = f"SELECT num_queries > 0, last_used IS NOT NULL FROM keypairs WHERE access_key = '{client.access_key}'"
    eventually(lambda: cluster.sql(key) == [["t", "t"]], seconds=60)


@pytest.mark.parametrize("token", ["no-such-session", "x", "%00", "%2e%2e", "a" * 1000, "%D0%BA%D0%BB%D1%8E%D1%87"])
def test_an_unknown_session(client, token):
    assert client.info(token).problem == (404, "kernel-not-found")
    assert client.destroy(token).problem == (404, "kernel-not-found")
    assert client.execute(token, "1").problem == (404, "kernel-not-found")


def test_another_keys_session_is_not_found(cluster, client, session):
    other = cluster.new_key()
    assert other.info(session).problem == (404, "kernel-not-found")
    assert other.destroy(session).problem == (404, "kernel-not-found")
    assert other.execute(session, "1").problem == (404, "kernel-not-found")
    # The name is free for the other key, and names another session.
    assert other.create(session).json["created"] is True
    client.run(session, "x = 'mine'")
    other.run(session, "x = 'other'")
    assert client.run(session, "print(x)")[1] == [["stdout", "mine\n"]]
    assert other.destroy(session).status == 200
    assert client.info(session).status == 200


def test_an_admin_acts_for_another(cluster, client, session):
    admin = cluster.new_key(is_admin=True)
    path = f"/v4/kernel/{session}?owner_access_key={client.access_key}"
    assert admin.signed("GET", path).status == 200
    assert admin.info(session).problem == (404, "kernel-not-found")
    assert cluster.new_key().signed("GET", path).problem == (401, "auth-failed")
    assert admin.signed("DELETE", path).status == 200
    assert client.info(session).problem == (404, "kernel-not-found")


# Ending


def test_a_destroyed_session_is_gone_at_once_on_every_worker(cluster, client):
    for _ in range(5):
        token = client.started()
        answer = client.destroy(token)
        assert answer.status == 200 and set(answer.json) == {"stats"}, answer
        assert answer.json["stats"] is None or isinstance(answer.json["stats"], dict)
        assert {client.info(token).problem for _ in range(8)} == {(404, "kernel-not-found")}
        assert client.destroy(token).problem == (404, "kernel-not-found")
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 0


def test_a_token_can_be_used_again(client, session):
    client.run(session, "x = 1")
    client.destroy(session)
    assert client.create(session).json["created"] is True
    assert client.info(session).json["numQueriesExecuted"] == 1
    results, _ = client.run(session, "print('x' in globals())")
    assert results[-1]["console"] == [["stdout", "False\n"]]


def test_destroyed_by_many_at_once(cluster, client, session):
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda _: client.destroy(session), range(8)))
    assert statuses[0] == 200 and set(statuses) <= {200, 404}, statuses
    assert live_rows(cluster, client) == concurrency_used(cluster, client) == 0


def test_a_kernel_that_ends_by_itself_is_forgotten(cluster, client, session):
    client.execute(session, "import os; os._exit(0)")
    eventually(lambda: client.info(session).status == 404)
    eventually(lambda: live_rows(cluster, client) == concurrency_used(cluster, client) == 0)


def test_what_agents_give_is_the_sum_of_their_sessions(cluster, client):
    tokens = [client.started() for _ in range(3)]
    client.destroy(tokens[0])
    rows = cluster.sql(
        "SELECT a.id FROM agents a WHERE a.used_mem_slots <> (SELECT coalesce(sum(mem_slot), 0) FROM kernels k"
        " WHERE k.agent = a.id AND k.status NOT IN ('TERMINATED', 'ERROR')) OR abs(a.used_cpu_slots -"
        " (SELECT coalesce(sum(cpu_slot), 0) FROM kernels k WHERE k.agent = a.id"
        " AND k.status NOT IN ('TERMINATED', 'ERROR'))) > 1e-6"
    )
    assert rows == []
