"""Numbers that engines tell Prometheus, numbers of parameters, and where servers listen."""

from __future__ import annotations

import pytest

from flm.engines.counts import parameters
from flm.engines.metrics import count, samples, total
from flm.engines.places import local_hosts, port_in, program
from support.machines import MadeUp

TEXT = b"""# HELP a:running Requests
# TYPE a:running gauge
a:running{engine="0",name="x} 9"} 2.0
a:running{engine="1"} 3.5 1700000000
a:running_total 7
a:running
a:bad NaN
a:bad +Inf
a:bad x
a:negative -3
"""


def test_all_samples_of_a_metric_are_found_and_no_others() -> None:
    """Labels of any kind, a time behind; names that only begin alike are others."""
    assert samples(TEXT, "a:running") == [2.0, 3.5]
    assert samples(TEXT, "a:runn") == []
    assert samples(TEXT, "a:bad") == []


def test_samples_are_summed_and_the_first_name_counts() -> None:
    """An older name is asked for only where the newer is not there."""
    assert total(TEXT, "a:running", "a:running_total") == 5.5
    assert total(TEXT, "a:absent", "a:running_total") == 7.0
    assert total(TEXT, "a:absent") is None
    assert (count(TEXT, "a:running"), count(TEXT, "a:negative")) == (6, 0)
    assert count(b"", "a:running") is None


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (None, None), (0, None), (-1, None), (999, "999"), (127_552, "128K"),
        (135_000_000, "135M"), (1_240_000_000, "1.2B"), (8_030_261_248, "8.0B"),
        (9_960_000_000, "10B"), (70_553_706_496, "71B"), (1_000_000_000_000, "1.0T"),
    ],
)  # fmt: skip
def test_parameters_are_written_as_makers_write_them(number: int | None, word: str | None) -> None:
    """Two figures below ten, whole numbers above."""
    assert parameters(number) == word


@pytest.mark.parametrize("text", ["", "0", "70000", "-1", "http", "\u0663\u0664", "8 0", "080808"])
def test_a_port_that_is_none_does_not_count(text: str) -> None:
    """Digits of ASCII, at most 65535."""
    assert port_in(text) is None


def test_a_port_is_read_with_blanks_around_it() -> None:
    """As people set variables."""
    assert (port_in("8080"), port_in(" 1 "), port_in("65535")) == (8080, 1, 65535)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("", ("127.0.0.1", "::1")), ("localhost", ("127.0.0.1", "::1")),
        ("0.0.0.0", ("127.0.0.1", "::1")), ("::", ("127.0.0.1", "::1")),
        ("127.0.0.1", ("127.0.0.1",)), ("[::1]", ("::1",)), ("127.1.2.3", ("127.1.2.3",)),
        ("192.168.1.4", ()), ("gpu.example.com", ()), ("127.0.0.1.evil.example", ()),
    ],
)  # fmt: skip
def test_only_this_machine_is_searched(host: str, expected: tuple[str, ...]) -> None:
    """What listens everywhere is reached over loopback; another machine is not searched."""
    assert local_hosts(host) == expected


def test_a_program_on_path_comes_first_then_the_newest_folder() -> None:
    """The user's own choice before what lies around."""
    files = {"/opt/a-1/bin/x": "", "/opt/a-2/bin/x": "", "/usr/x": ""}
    assert program(MadeUp(files=files), "x", ["/opt/*/bin", "/usr"]) == "/opt/a-2/bin/x"
    assert program(MadeUp(files=files, programs={"x": "/p/x"}), "x", ["/usr"]) == "/p/x"
    assert program(MadeUp(), "x", ["/usr"]) is None


def test_a_program_of_windows_ends_with_exe() -> None:
    """And its folders are joined as Windows joins them."""
    machine = MadeUp("win32", files={r"C:\Users\you\tools\x.exe": ""})
    assert program(machine, "x", ["~\\tools"]) == r"C:\Users\you\tools\x.exe"
