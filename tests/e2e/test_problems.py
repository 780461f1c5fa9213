"""Every problem of the catalogue is one that a test meets in an answer of the gateway."""

import re

import pytest

from cluster import ROOT

# No route names an agent: operators ask for agents by GraphQL, which has errors of its own. Clients may know the
# problem from other managers, so that it stays in the catalogue. A URL that is too long makes a head too large before
# it comes to the limit of URLs.
NOT_HERE = {"instance-not-found", "uri-too-long"}
# Which test meets a problem.
MET_BY = {
    "general-error": "test_graphql.py",
    "generic-not-found": "test_versions.py",
    "generic-bad-request": "test_versions.py",
    "method-not-allowed": "test_versions.py",
    "internal-server-error": "test_folders.py::test_a_folder_that_is_gone_from_its_volume",
    "service-unavailable": "test_stores_away.py",
    "not-implemented": "test_old_agents.py",
    "invalid-auth-params": "test_auth.py",
    "auth-failed": "test_auth.py",
    "invalid-api-params": "test_folders.py::test_names",
    "image-not-found": "test_sessions.py",
    "kernel-not-found": "test_isolation_of_keys.py::test_another_keys_session_is_not_there",
    "kernel-already-exists": "test_sessions.py",
    "folder-not-found": "test_folders.py::test_another_key_has_nothing_of_it",
    "folder-already-exists": "test_folders.py::test_names",
    "folder-in-use": "test_folders.py::test_a_folder_that_a_session_has_mounted_stays",
    "quota-exceeded": "test_sessions.py",
    "rate-limit-exceeded": "test_ratelimit.py",
    "instance-not-available": "test_folders.py::test_where_no_agent_mounts_read_only_the_session_is_refused",
    "kernel-creation-failed": "test_agent_faults.py::test_a_creation_that_fails_gives_everything_back",
    "kernel-destruction-failed": "test_agent_faults.py",
    "kernel-restart-failed": "test_agent_faults.py",
    "kernel-execution-failed": "test_session_routes.py::test_a_download_of_what_is_not_there",
    "request-timeout": "test_http.py::test_a_head_that_does_not_end",
    "body-too-large": "test_http.py::test_a_body_over_the_limit_by_its_length",
    "upgrade-required": "test_streams.py::test_a_terminal_wants_a_websocket",
    "headers-too-large": "test_http.py::test_headers_too_large",
}


def catalogue():
    """{slug: status} of the page that the gateway's own table is printed to."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    return {slug: int(status) for slug, status in rows}


def test_each_has_its_test():
    assert set(MET_BY) | NOT_HERE == set(catalogue())
    assert not set(MET_BY) & NOT_HERE


@pytest.mark.parametrize("slug", MET_BY)
def test_that_test_asserts_it(slug):
    """By the slug, and where it is named, in that test's own body."""
    name, _, function = MET_BY[slug].partition("::")
    source = (ROOT / "tests" / "e2e" / name).read_text()
    if function:
        source = re.search(rf"^def {function}\(.*?(?=^\S|\Z)", source, re.MULTILINE | re.DOTALL)[0]
    asserted = rf"""\(\s*{catalogue()[slug]},\s*"{slug}"\s*\)|"[a-z_]+": "{slug}\""""
    assert re.search(asserted, source), f"{MET_BY[slug]} says nothing of {slug}"
