"""A gateway that cannot start: one line that says why, exit 1."""

import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from ports import free_ports  # noqa: E402

UNUSED = "127.0.0.1:1"


@pytest.fixture
def start(cluster, tmp_path):
    """Starts a second gateway with other settings and returns the one line that it ends with."""
    service, admin, events = free_ports(31500, 3)

    def start(status=1, arguments=(), **changes):
        settings = {
            "BACKEND_SERVICE_PORT": str(service),
            "BACKEND_ADMIN_PORT": str(admin),
            "BACKEND_EVENTS_PORT": str(events),
            "BACKEND_CONTROL_SOCKET": str(tmp_path / "gateway.sock"),
        }
        done = cluster.program("backendai-gateway", *arguments, **{**settings, **changes})
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        assert "panicked" not in said and "RUST_BACKTRACE" not in said and "stack backtrace" not in said
        assert len(said.strip().splitlines()) == 1, said
        return said.lower()

    return start


@pytest.fixture
def database(cluster):
    """A second, empty database."""
    cluster.sql("CREATE DATABASE second", database="postgres")
    yield "second"
    cluster.sql("DROP DATABASE second WITH (FORCE)", database="postgres")


def test_a_wrong_password_of_the_database(start):
    said = start(BACKEND_DB_PASSWORD="wrong")
    assert "password" in said and "wrong" not in said.replace("wrong password", "")


def test_no_such_database(start):
    assert "nosuchdb" in start(BACKEND_DB_NAME="nosuchdb")


def test_no_such_user(start):
    assert "nobody-knows" in start(BACKEND_DB_USER="nobody-knows")


@pytest.mark.parametrize(
    ("variable", "name"),
    [("BACKEND_DB_ADDR", "postgresql"), ("BACKEND_REDIS_ADDR", "redis"), ("BACKEND_ETCD_ADDR", "etcd")],
)
def test_a_store_that_is_not_there(start, variable, name):
    said = start(**{variable: UNUSED})
    assert name in said and UNUSED in said


def test_a_database_without_schema(start, database):
    assert "backendai-manager schema" in start(BACKEND_DB_NAME=database)


def test_a_schema_that_is_too_old(cluster, start, database):
    cluster.sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)", database=database)
    cluster.sql("INSERT INTO alembic_version VALUES ('c3e74dcf1808')", database=database)
    assert "backendai-manager schema upgrade" in start(BACKEND_DB_NAME=database)


@pytest.mark.parametrize("variable", ["BACKEND_SERVICE_PORT", "BACKEND_ADMIN_PORT", "BACKEND_EVENTS_PORT"])
def test_a_port_that_is_taken(start, variable):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in start(**{variable: port})


def test_a_certificate_that_is_none(start, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_text("no certificate")
    said = start(BACKEND_SSL_CERT=str(cert), BACKEND_SSL_KEY=str(key))
    assert str(cert).lower() in said and "--ssl-cert" in said


def test_a_second_gateway_at_the_same_port(cluster, start):
    port = cluster.settings["BACKEND_SERVICE_PORT"]
    assert port in start(BACKEND_SERVICE_PORT=port)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BACKEND_SERVICE_PORT", "many"),
        ("BACKEND_WORKERS", "0"),
        ("BACKEND_ENGINE", "steam"),
        ("BACKEND_SIGN_METHODS", "sha256,rot13"),
        ("BACKEND_REDIS_ADDR", "nowhere"),
        ("BACKEND_AGENT_NETWORKS", "10.0.0.0/33"),
    ],
)
def test_a_bad_option_is_named(start, variable, value):
    said = start(status=2, **{variable: value})
    assert variable.removeprefix("BACKEND_").lower().replace("_", "-") in said or variable.lower() in said


def test_the_command_line_goes_before_a_variable_of_the_alternative(cluster, start, tmp_path):
    """The settings hold BACKEND_DB_PASSWORD and BACKEND_WORKERS may stand beside --cpus."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(cluster.settings["BACKEND_DB_PASSWORD"] + "\n")
    wrong.write_text("wrong\n")
    for place in (["--db-password-file", str(right), "schema", "show"], ["schema", "show", "--db-password-file", str(right)]):
        done = cluster.program("backendai-manager", *place)
        assert done.returncode == 0, done
    done = cluster.program("backendai-manager", "schema", "show", "--db-password-file", str(wrong))
    assert done.returncode == 1 and "password" in done.stderr, done
    assert "password" in start(arguments=["--db-password-file", str(wrong), "--cpus", "0"], BACKEND_WORKERS="2")


@pytest.fixture
def agent(cluster):
    """Starts an agent that cannot start, and returns the one line that it ends with."""

    def agent(status, *arguments, **settings):
        done = cluster.program("backendai-agent", *arguments, **settings)
        assert done.returncode == status, done
        assert len(done.stderr.strip().splitlines()) == 1, done
        return done.stderr

    return agent


def test_an_agents_flags_in_the_environment_are_those_of_the_other_programs(agent):
    # Past its options, it finds that this folder cannot be made.
    for yes in ("1", "true", "yes"):
        settings = {"BACKEND_INSECURE": yes, "BACKEND_KEEP_KERNELS": yes, "BACKEND_SCRATCH_ROOT": "/proc/nowhere"}
        assert "/proc/nowhere" in agent(1, **settings)
    assert "--insecure" in agent(1, BACKEND_INSECURE="0")


def test_an_agents_bad_option_is_named(agent):
    assert "--agent-port" in agent(2, "--agent-port", "many")
    assert "--nonsense" in agent(2, "--nonsense")
    assert "BACKEND_AGENT_PORT" in agent(2, BACKEND_AGENT_PORT="many")
