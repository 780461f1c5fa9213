"""Signed requests: what is accepted, and how each failure is named."""

import datetime
import json

import pytest

from api import A_SECOND, Client, eventually, new_token
from sign import signed_headers, signature, string_to_sign

AUTH_ROUTES = ["/authorize", "/auth", "/auth/test"]
VERSIONS = {"": "v4.20181215", "/v1": "v1.20160915", "/v2": "v2.20170315", "/v3": "v3.20170615", "/v4": "v4.20181215"}


def zone(hours):
    """A fixed offset from UTC."""
    return datetime.timezone(datetime.timedelta(hours=hours))


def now(hours=0):
    """The current time as a clock in that zone shows it."""
    return datetime.datetime.now(zone(hours))


def accepted(answer):
    """Whether a signed request was let in, and the echo came back."""
    assert answer.status == 200, answer
    assert answer.json == {"authorized": "yes", "echo": "hello"}, answer


def authorize(client, **options):
    """A signed GET /v4/auth."""
    return client.signed("GET", "/v4/auth", {"echo": "hello"}, **options)


# What is accepted


@pytest.mark.parametrize("prefix", VERSIONS)
@pytest.mark.parametrize("route", AUTH_ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_authorize_routes_echo(client, prefix, route, method):
    accepted(client.signed(method, prefix + route, {"echo": "hello"}, version=VERSIONS[prefix]))


@pytest.mark.parametrize("body", [b"", b"echo", b'{"echo"', b"\xff\xfe", b"[1]", b'"echo"'])
def test_authorize_wants_json(client, body):
    assert client.signed("POST", "/v4/auth", body).problem == (400, "invalid-auth-params")


DATE_FORMS = {
    "RFC 1123": ("%a, %d %b %Y %H:%M:%S GMT", 0),
    "numeric zone with a comment": ("%a, %d %b %Y %H:%M:%S +0000 (UTC)", 0),
    "numeric zone": ("%a, %d %b %Y %H:%M:%S +0900", 9),
    "named zone EST": ("%a, %d %b %Y %H:%M:%S EST", -5),
    "named zone KST": ("%a, %d %b %Y %H:%M:%S KST", 9),
    "RFC 850": ("%A, %d-%b-%y %H:%M:%S GMT", 0),
    "asctime": ("%a %b %d %H:%M:%S %Y", 0),
    "ISO extended": ("%Y-%m-%dT%H:%M:%SZ", 0),
    "ISO basic": ("%Y%m%dT%H%M%SZ", 0),
    "ISO without a zone": ("%Y-%m-%dT%H:%M:%S.%f", 0),
    "ISO with a space and a name": ("%Y-%m-%d %H:%M:%S KST", 9),
    "ISO with a colon in the zone": ("%Y-%m-%dT%H:%M:%S+09:00", 9),
    "ISO without a colon in the zone": ("%Y-%m-%dT%H:%M:%S+0900", 9),
    "ISO with nanoseconds": ("%Y-%m-%dT%H:%M:%S.123456789Z", 0),
    "ISO with a comma": ("%Y-%m-%dT%H:%M:%S,123Z", 0),
    "unknown zone name": ("%Y-%m-%d %H:%M:%S QQQ", 0),
}


@pytest.mark.parametrize("form", DATE_FORMS)
def test_date_forms(client, form):
    text, hours = DATE_FORMS[form]
    moment = now(hours)
    accepted(authorize(client, now=moment, date=moment.strftime(text)))


@pytest.mark.parametrize("hours", [-11, 14])
def test_the_day_in_the_key_is_the_one_in_the_dates_own_zone(client, hours):
    moment = now(hours)
    accepted(authorize(client, now=moment))
    wrong = (moment + datetime.timedelta(days=1)).strftime("%Y%m%d")
    assert authorize(client, now=moment, day=wrong).problem == (401, "auth-failed")


@pytest.mark.parametrize("minutes", [-14, 14])
def test_clocks_may_be_a_little_off(client, minutes):
    accepted(authorize(client, now=now() + datetime.timedelta(minutes=minutes)))


@pytest.mark.parametrize("name", ["Date", "X-BackendAI-Date", "X-Sorna-Date"])
def test_date_headers(client, name):
    accepted(authorize(client, date_header=name))


def test_the_first_date_header_wins(client):
    accepted(authorize(client, headers={"X-BackendAI-Date": "garbage", "X-Sorna-Date": "garbage"}))
    accepted(authorize(client, date_header="X-BackendAI-Date", headers={"X-Sorna-Date": "garbage"}))
    answer = authorize(client, date_header="X-BackendAI-Date", headers={"Date": "garbage"})
    assert answer.problem == (400, "invalid-auth-params")


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512", "sha3_256", "sha3_512"])
def test_hashes(client, digest):
    accepted(authorize(client, digest=digest))


@pytest.mark.parametrize("name", ["hmac-sha256", "HMAC-sha256", "Hmac-Sha256"])
def test_the_method_is_named_in_any_case(client, name):
    accepted(authorize(client, method_name=name))


@pytest.mark.parametrize("version", ["v2.20170315", "v3.20170615", "v4.20181215"])
def test_legacy_headers(client, version):
    accepted(client.signed("GET", "/auth", {"echo": "hello"}, legacy=True, version=version))


@pytest.mark.parametrize(
    ("sent", "signed"),
    [
        ("application/json; charset=utf-8", "application/json"),
        ("Application/JSON", "Application/JSON"),
        ("Application/JSON", "application/json"),
        (None, "application/octet-stream"),
    ],
)
def test_content_type_in_the_signature(client, sent, signed):
    body = json.dumps({"echo": "hello"}).encode()
    headers = signed_headers(
        "GET", "/v4/auth", client.host, client.access_key, client.secret_key, body=body, content_type=signed
    )
    del headers["Content-Type"]
    if sent:
        headers["Content-Type"] = sent
    accepted(client.plain("GET", "/v4/auth", body, headers))


@pytest.mark.parametrize(
    ("sent", "normal"),
    [
        ("/v4/kernel/%61bcd%2Defgh", "/v4/kernel/abcd-efgh"),
        ("/v4/kernel/abcd%c3%a9", "/v4/kernel/abcd%C3%A9"),
        ("/v4/kernel/abcdefgh?", "/v4/kernel/abcdefgh"),
        ("/v4/kernel/abcdefgh?x=a%2Fb", "/v4/kernel/abcdefgh?x=a/b"),
    ],
)
def test_the_path_is_signed_as_sent_or_in_normal_form(client, sent, normal):
    for signed in (sent, normal):
        headers = signed_headers("GET", signed, client.host, client.access_key, client.secret_key)
        assert client.plain("GET", sent, b"", headers).problem == (404, "kernel-not-found"), signed


@pytest.mark.parametrize("separator", [", ", ",", ",  ", ", stray=1, "])
def test_parameters_of_the_header(client, separator):
    headers = signed_headers("GET", "/v4/auth", client.host, client.access_key, client.secret_key)
    headers["Authorization"] = headers["Authorization"].replace(", ", separator)
    accepted(client.plain("GET", "/v4/auth", b'{"echo": "hello"}', headers))


def test_old_versions_sign_the_body_and_new_ones_do_not(client):
    body, other = b'{"echo": "hullo"}', b'{"echo": "hello"}'
    for version, expected in (("v3.20170615", 401), ("v4.20181215", 200)):
        path = "/v3/auth" if version < "v4" else "/v4/auth"
        headers = signed_headers(
            "POST", path, client.host, client.access_key, client.secret_key, body=body, version=version
        )
        assert client.plain("POST", path, other, headers).status == expected


# What is refused


def edited(client, **changes):
    """GET /v4/auth with headers replaced (a text) or left out (None) after signing."""
    headers = signed_headers("GET", "/v4/auth", client.host, client.access_key, client.secret_key)
    for name, value in changes.items():
        name = name.replace("_", "-")
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    return client.plain("GET", "/v4/auth", b'{"echo": "hello"}', headers)


BAD_DATES = ["", "1795345029", "2026-11-22", "2026-13-22T10:47:09Z", "99999-11-22T10:47:09Z", "12345678901234567890", "now"]


@pytest.mark.parametrize("date", BAD_DATES)
def test_unreadable_dates(client, date):
    assert authorize(client, date=date).problem == (400, "invalid-auth-params")


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24 * 365])
def test_dates_too_far_off(client, minutes):
    moment = now() + datetime.timedelta(minutes=minutes)
    assert authorize(client, now=moment).problem == (400, "invalid-auth-params")


def test_no_date(client):
    assert edited(client, Date=None).problem == (400, "invalid-auth-params")


def test_no_version_header(client):
    assert edited(client, X_BackendAI_Version=None).problem == (400, "invalid-auth-params")


def test_a_route_that_needs_it_without_authentication(cluster):
    anonymous = Client(cluster.endpoint)
    assert anonymous.plain("GET", "/v4/auth", b'{"echo": "x"}').problem == (401, "auth-failed")
    assert anonymous.plain("GET", "/v4/kernel/some-session").problem == (401, "auth-failed")
    assert anonymous.plain("POST", "/v4/kernel/create", b"{}").problem == (401, "auth-failed")


@pytest.mark.parametrize(
    "header",
    [
        "BackendAI",
        "Basic dXNlcjpwYXNz",
        "BackendAI signMethod",
        "BackendAI signMethod=HMAC-SHA256",
        "BackendAI signMethod=HMAC-SHA256, credential",
        "BackendAI signMethod=HMAC-SHA256, credential=",
        "BackendAI signMethod=HMAC-SHA256, credential=AKIA",
        "BackendAI signMethod=HMAC-SHA256, credential=:",
        "BackendAI credential=AKIA:00",
        "BackendAI signMethod=CMAC-SHA256, credential=AKIA:00",
        "BackendAI signMethod=HMAC-NOSUCH, credential=AKIA:00",
        "BackendAI signMethod=HMAC, credential=AKIA:00",
        "BackendAI signMethod=SHA256, credential=AKIA:00",
        "BackendAI signMethod=HMAC-SHA256, stray, credential=AKIA:00",
    ],
)
def test_malformed_authorization(client, header):
    assert edited(client, Authorization=header).problem == (400, "invalid-auth-params")


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_weak_hashes_are_off_by_default(client, digest):
    assert authorize(client, digest=digest).problem == (400, "invalid-auth-params")


def test_an_unknown_key(cluster, client):
    unknown = Client(cluster.endpoint, "AKIANOSUCHKEY0000000", client.secret_key)
    assert authorize(unknown).problem == (401, "auth-failed")


@pytest.mark.parametrize("access_key", ["A", "A" * 20 + "x" * 200, "'; DROP TABLE keypairs; --", "AKIA%00", "ключ"])
def test_a_strange_key(cluster, client, access_key):
    strange = Client(cluster.endpoint, access_key, client.secret_key)
    headers = signed_headers("GET", "/v4/auth", strange.host, access_key, "x")
    headers["Authorization"] = headers["Authorization"].encode()
    answer = strange.plain("GET", "/v4/auth", b'{"echo": "x"}', headers)
    assert answer.problem in ((401, "auth-failed"), (400, "invalid-auth-params"))


def test_an_inactive_key_is_refused_like_an_unknown_one(cluster):
    inactive = cluster.new_key(is_active=False)
    assert authorize(inactive).problem == (401, "auth-failed")


def test_a_wrong_secret_with_a_body_that_nobody_reads(cluster, client):
    """The client is still sending when it is refused; it reads why, and the connection goes on."""
    liar = Client(cluster.endpoint, client.access_key, "wrong", keep_alive=True)
    form = {"content_type": "multipart/form-data; boundary=x"}
    for target in ("/v4/folders/x/upload", "/v4/nowhere"):
        answer = liar.signed("POST", target, bytes(32 << 20), **form)
        assert answer.problem == ((401, "auth-failed") if "folders" in target else (404, "generic-not-found"))
        used = liar.kept.sock
    assert liar.signed("GET", "/v4").status == 200 and liar.kept.sock is used
    liar.kept.close()


def test_a_wrong_secret(cluster, client):
    wrong = Client(cluster.endpoint, client.access_key, client.secret_key[:-1] + "!")
    assert authorize(wrong).problem == (401, "auth-failed")


@pytest.mark.parametrize("change", ["method", "path", "query", "date", "host", "version", "upper case"])
def test_a_signature_covers_every_part(client, change):
    date = now().isoformat()
    parts = {"method": "GET", "target": "/v4/auth", "date": date, "host": client.host, "version": "v4.20181215"}
    parts.update(
        {
            "method": {"method": "POST"},
            "path": {"target": "/v4/authorize"},
            "query": {"target": "/v4/auth?x=1"},
            "date": {"date": now().isoformat() + " "},
            "host": {"host": "example.org"},
            "version": {"version": "v3.20170615"},
            "upper case": {},
        }[change]
    )
    message = string_to_sign(content_type="application/json", body=b"", digest="sha256", **parts)
    signed = signature(client.secret_key, now().strftime("%Y%m%d"), client.host, message, "sha256")
    if change == "upper case":
        signed = "".join(digit.upper() for digit in signed)
    headers = {
        "Date": date,
        "X-BackendAI-Version": "v4.20181215",
        "Content-Type": "application/json",
        "Authorization": f"BackendAI signMethod=HMAC-SHA256, credential={client.access_key}:{signed}",
    }
    assert client.plain("GET", "/v4/auth", b'{"echo": "hello"}', headers).problem == (401, "auth-failed")


def test_an_admin_route_refuses_a_plain_key(client):
    answer = client.signed("GET", f"/v4/kernel/{new_token()}?owner_access_key=AKIAIOSFODNN7EXAMPLE")
    assert answer.problem == (401, "auth-failed"), answer


# Changes of a key are seen


def every_worker(client, status):
    """Whether many new connections, which reach every worker, all get this status."""
    return all(authorize(client).status == status for _ in range(16))


def test_a_key_that_is_switched_off_and_on_again(cluster, client):
    assert every_worker(client, 200)
    where = f"WHERE access_key = '{client.access_key}'"
    cluster.sql(f"UPDATE keypairs SET is_active = false {where}")
    eventually(lambda: every_worker(client, 401), seconds=A_SECOND)
    cluster.sql(f"UPDATE keypairs SET is_active = true {where}")
    eventually(lambda: every_worker(client, 200), seconds=A_SECOND)


def test_a_secret_that_changes(cluster, client):
    assert every_worker(client, 200)
    changed = Client(cluster.endpoint, client.access_key, "n" * 40)
    cluster.sql(f"UPDATE keypairs SET secret_key = '{changed.secret_key}' WHERE access_key = '{client.access_key}'")
    eventually(lambda: every_worker(changed, 200), seconds=A_SECOND)
    eventually(lambda: every_worker(client, 401), seconds=A_SECOND)


def test_a_key_that_is_made_after_it_was_refused(cluster):
    fresh = cluster.new_key()
    cluster.sql(f"DELETE FROM keypairs WHERE access_key = '{fresh.access_key}'")
    eventually(lambda: every_worker(fresh, 401), seconds=A_SECOND)
    cluster.sql(
        "INSERT INTO keypairs (access_key, secret_key, is_active, concurrency_limit, concurrency_used, rate_limit)"
        f" VALUES ('{fresh.access_key}', '{fresh.secret_key}', true, 1, 0, 1000)"
    )
    eventually(lambda: every_worker(fresh, 200), seconds=A_SECOND)
