"""Lists that the released clients' command lines show, of the admin API."""

import pytest


@pytest.fixture
def command(place):
    """Runs the client's command line with a key, and gives what it printed."""

    def run(key, *arguments):
        keys = {"BACKEND_ACCESS_KEY": key.access_key, "BACKEND_SECRET_KEY": key.secret_key}
        printed = place.command(*arguments, environment=keys)
        assert "Failed" not in printed, printed
        return printed

    return run


def test_ps_and_admin_sessions(command, client):
    assert "no compute sessions" in command(client, "ps")
    token = client.started("python")
    shown = command(client, "ps")
    assert "RUNNING" in shown and "python" in shown, shown
    client.destroy(token)
    assert "no compute sessions" in command(client, "ps")
    assert "TERMINATED" in command(client, "admin", "sessions", "--status", "TERMINATED")
    assert "TERMINATED" in command(client, "admin", "sessions", "--status", "ALL")


def test_admin_sessions_of_another_key(cluster, command, client):
    client.started("python")
    admin = cluster.new_key(is_admin=True)
    assert "RUNNING" in command(admin, "admin", "sessions", "--access-key", client.access_key)
    assert "no compute sessions" in command(admin, "admin", "sessions")


def test_admin_vfolders(cluster, command, client):
    cluster.sql(f"INSERT INTO vfolders (host, name, belongs_to) VALUES ('local', 'mine', '{client.access_key}')")
    try:
        assert "mine" in command(client, "admin", "vfolders")
    finally:
        cluster.sql(f"DELETE FROM vfolders WHERE belongs_to = '{client.access_key}'")


def test_admin_agents_and_keypairs(cluster, command, release, client):
    admin = cluster.new_key(is_admin=True)
    if release == "1.0.6":
        # It has no such commands, and says so.
        with pytest.raises(AssertionError, match="invalid choice"):
            command(admin, "admin", "agents")
        return
    assert "ALIVE" in command(admin, "admin", "agents")
    assert client.access_key in command(admin, "admin", "keypairs", "--user-id", "77")
    user = ["79"] if release == "18.12.3" else ["--user-id", "79"]
    made = command(admin, "admin", "keypairs", "add", *user)
    assert "Access Key: AKIA" in made and "Secret Key: " in made, made
