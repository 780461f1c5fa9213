"""Fixtures of the tests with released clients."""

import pytest

from workplace import CLIENTS, Workplace


@pytest.fixture(params=CLIENTS, scope="module")
def release(request):
    """A release number."""
    return request.param


@pytest.fixture(scope="module")
def place(cluster, release, tmp_path_factory):
    """A user of that release."""
    place = Workplace(cluster, release, tmp_path_factory.mktemp(f"client-{release}"))
    yield place
    place.close()
