"""Every public function of every released client, called for real.

tour.py calls them, and recorded.py notes what was called. What a release's own modules define and nothing called
fails `test_nothing_is_left_out`. Where a release breaks by itself, before it sends anything or after it has its
answer, the test says how.
"""

import json

import pytest

from workplace import HERE, LIMIT, OF_2017, number


@pytest.fixture(scope="module")
def told(place, release):
    """What tour.py saw."""
    status, output = place.run(str(HERE / "tour.py"), release)
    assert status == 0, output
    return seen(output)


@pytest.fixture(scope="module")
def of_2017(place, release):
    """What 1.0.6 saw with an aiohttp of its time, where this machine has a Python for that."""
    if release != "1.0.6" or not OF_2017:
        return None
    process = place.start(str(HERE / "tour_async.py"), release, python=OF_2017)
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    return seen(output)


def seen(output):
    return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


def test_settings_and_requests(told, release):
    assert all(told["settings"].values()), told["settings"]
    answer = {"status": 200, "reason": "OK", "type": "application/json", "length": True, "same": True}
    if release == "1.0.6":
        answer["type"] += "; charset=utf-8"
    assert told["answer"] == {**answer, "echo": "back again"}
    assert told["error"] == [404, "Not Found", "https://api.backend.ai/probs/kernel-not-found"]
    if number(release) < (1, 5):
        assert told["contents"] == [{"echo": "back again"}, "some text", "some bytes"] and told["charset"] == "utf-8"
    else:
        assert told["contents"] == ["some text", "text/plain"]
        # `readall` of these releases calls a function by a name that it has not.
        assert told["parts"] == [True, True, "AttributeError"]
    if number(release) >= (1, 4):
        assert told["session"] == [False, True]
    if release == "1.4.2":
        # It closes the answer before it gives it to be read, and takes the name of a function for its value.
        broken = {"read": "", "readall": "AttributeError", "areadall": "ClientConnectionError"}
        assert told["streamed_answer"] == {"type": "application/json", "stream": True, **broken}


def test_sessions(told, release):
    assert told["query"] == "42\n"
    assert told["completed"] and told["complete_mode"]
    assert told["batch"] == "built\nfrom a file there\n"
    assert told["after_restart"] == "False import sys\n"
    assert told["queries"] > 5
    assert told["destroyed"] == ["stats"]
    if number(release) >= (1, 3):
        assert told["logs"] == ["logs"]
    if number(release) >= (1, 4):
        assert "hello.py" in told["files"]
        # 1.4.2 breaks when it has the answer.
        assert told["download"] == "AttributeError" if release == "1.4.2" else told["downloaded"] is True
    if number(release) >= (18,):
        assert told["hello"] == {"version": "v4.20181215"} and told["legacy"] is True


def test_folders(told, release):
    if number(release) < (1, 3):
        assert "folder" not in told
        return
    assert told["folder"] == ["id", "name"] and told["folders"]
    assert told["folder_info"] == 1
    assert told["mounted"] == "1000\n"
    assert told["folders_left"] == 0
    if number(release) < (1, 5):
        # It makes `get` a function that takes no name.
        assert told["get"] == "TypeError"
    if number(release) < (1, 4):
        assert told["folder_download"] == "NotImplementedError"
        return
    assert told["folder_files"] == ["data.txt", "sub"] and told["folder_rest"] == ["data.txt"]
    assert told["folder_download"] is True
    assert told["invited"] and told["shared"] == [False, "rw"] and told["refused"] == 0


def test_administration(told, place, release):
    assert told["admin_query"] == {"access_key": place.key.access_key}
    if number(release) >= (1, 3):
        assert "ALIVE" in told["agents"]
        assert told["key_pair"] == "AKIA" and told["key_pairs"]
        # The releases promise it, and do not do it.
        assert told["activate"] == told["deactivate"] == "NotImplementedError"
    if number(release) >= (18,):
        assert told["agent"] == "ALIVE" and told["own_key_pair"] is True
        assert ["python", "latest"] in told["images"]
        # This release breaks before it sends anything; mended, it asks for what none of the served versions has.
        assert told["manager"] == ["AssertionError"] * 3
        assert told["manager_answers"] == [[404, "https://api.backend.ai/probs/generic-not-found"]] * 3


def test_coroutines(told, release):
    if release == "1.0.6":
        # It wants an aiohttp of 2017, and with that it does not sign the handshake.
        assert told["of_another_time"] == "Use async with instead"
        assert told["refused_terminal"] == 401
        return
    is_open_or_broken = (told["sized"], told["restarted"], told["broken"], told["closed"])
    assert is_open_or_broken == (True, True, False, True)
    assert told["async_query"] == [["stdout", "42\n"]]
    if number(release) >= (1, 4):
        assert told["async_settings"] == [False, True]
    if number(release) >= (18,):
        # It forgets that the stream was to be a StreamPty, and no StreamPty has the `ws` that it writes to.
        assert told["terminal_is"] == ["WebSocketResponse", "ws"]
        assert told["frames"] == ["out", "out", "TypeError"]
        assert told["after_bytes"] == "the message is not text"
        [query, batch] = told["streamed"]
        assert query == [["waiting-input", "finished"], "? Hi Ann\n"]
        assert batch[0][-1] == "finished" and "build-finished" in batch[0] and batch[1] == "built\nexecuted\n"


def test_coroutines_of_2017(of_2017, release):
    if of_2017 is None:
        assert release != "1.0.6" or not OF_2017
        return
    assert of_2017["async_query"] == [["stdout", "42\n"]]
    assert of_2017["refused_terminal"] == 401
    # Signed by hand, it is a terminal like any.
    is_open_or_broken = tuple(of_2017[name] for name in ("sized", "restarted", "broken", "closed"))
    assert is_open_or_broken == (True, True, False, True)
    # It breaks before it sends anything: with every aiohttp that it says it works with.
    assert of_2017["upload"] == "'NoneType' object has no attribute 'set_content_disposition'"


def test_nothing_is_left_out(told, of_2017, place, release):
    """Last, since it counts what the tests before called."""
    left = place.offered_functions() - place.called()
    if release == "1.0.6" and not OF_2017:
        # ./dev test says so: no Python here is old enough for the aiohttp that its coroutines want.
        left = {name for name in left if not name.startswith("asyncio/")}
    assert not left, sorted(left)
