"""Fixtures of the end to end tests and of those with released clients."""

import os
import sys
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

sys.path.insert(0, str(Path(__file__).parent / "support"))

from cluster import Cluster  # noqa: E402  (the path comes first)

CLIENTS = dict(pair.split("=", 1) for pair in os.environ.get("CLIENT_RELEASES", "").split())


class PerModuleAndRelease(LoadScopeScheduling):
    """Keeps together the tests of a module, and of these the ones of a released client: they share what it saw."""

    def _split_scope(self, nodeid):
        module, _, name = nodeid.partition("::")
        return module + "".join(release for release in CLIENTS if name.endswith(f"[{release}]"))


def pytest_xdist_make_scheduler(config, log):
    """With -n alone; who says --dist gets that."""
    return PerModuleAndRelease(config, log) if config.getvalue("dist") == "load" else None


def pytest_collection_modifyitems(items):
    """Schemathesis gives the tests of all operations one id, and xdist runs one test of an id: each gets its own."""
    for item in items:
        label = getattr(item, "operation_label", None)
        if label and item.id.params is None:
            item._id = item.id.with_params(label)  # there is no public way


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call):
    """Shows with a failure what the gateways logged since the test began, but for their requests."""
    report = yield
    if report.failed:
        report.sections += [("gateway.log", cluster.told_since(call.start)) for cluster in Cluster.running]
    return report


def pytest_terminal_summary(terminalreporter):
    """Says why a test was run once more, also where it passed then."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"why {report.nodeid} was run again")
        terminalreporter.write_line("\n".join(report.longreprtext.splitlines()[-25:]))
        for title, text in report.sections:
            terminalreporter.write_line(f"--- {title}\n{text}")


def pytest_report_header():
    return f"gateway engine: {os.environ.get('BACKEND_ENGINE', 'auto')}"


@pytest.fixture(scope="session")
def cluster():
    """The cluster that tests share. A test leaves it as it found it."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def own_cluster():
    """A cluster of a module's own, for tests that break it."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def client(cluster):
    """A new key pair with room for many sessions: what a test does with it, no other test sees."""
    client = cluster.new_key()
    yield client
    destroy_all(cluster, client)


@pytest.fixture
def session(client):
    """The name of a new Python session of `client`."""
    return client.started()


def destroy_all(cluster, client):
    """Ends the sessions that a test left, so that the agent has room for the next one's."""
    rows = cluster.sql(
        f"SELECT sess_id FROM kernels WHERE access_key = '{client.access_key}' AND status IN ('RUNNING', 'PREPARING')"
    )
    for (token,) in rows:
        client.destroy(token)
