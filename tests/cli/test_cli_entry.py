"""The conventions that every command keeps: languages, formats, exit codes, no tracebacks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Flm

from flm.cli import root
from flm.cli.commands import Lazy, command, pass_session
from flm.cli.entry import run
from flm.cli.session import Session
from flm.errors import InvalidValue


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `flm breaks` that fails as it is told."""
    monkeypatch.setitem(root.flm._lazy, "breaks", Lazy(f"{__name__}:breaks_command", "Break."))


@command("breaks", help="Break.")
@pass_session
def breaks_command(session: Session) -> None:
    """Fail as `FLM_HOW` says."""
    how = session.environ["FLM_HOW"]
    raise {
        "bug": ZeroDivisionError("division by\nzero"),
        "user": InvalidValue("{what} is wrong.", remedy="Use {right}.", what="x", right="y"),
        "interrupt": KeyboardInterrupt(),
        "pipe": BrokenPipeError(),
    }[how]


def test_flm_alone_shows_what_there_is(flm: Flm) -> None:
    """The help, on stdout, and all is well."""
    ran = flm()

    assert ran.code == 0
    assert "Usage: flm [OPTIONS] COMMAND [ARGS]..." in ran.out
    assert "  up              Find the engines here and serve them as one API." in ran.out
    assert ran.err == ""


def test_help_speaks_japanese_before_and_after_a_command(flm: Flm) -> None:
    """`--lang` is understood in both places, click's own words included."""
    before = flm("--lang", "ja", "api-keys", "create", "--help")
    after = flm("api-keys", "create", "--help", "--lang=ja")

    assert before == after
    assert "使い方: flm api-keys create [OPTIONS]" in before.out
    assert "このヘルプを表示して終了します。" in before.out


def test_every_command_of_every_group_has_help_in_japanese(flm: Flm) -> None:
    """No English sentence is left in any help page."""
    pages = [flm(*path, "--help", environ={"FLM_LANG": "ja"}).out for path in every_command()]

    assert len(pages) >= 25
    english = [line for page in pages for line in page.splitlines() if re.search(r"[a-z]\.$", line)]
    assert english == []


def every_command() -> list[tuple[str, ...]]:
    """The words of every command there is."""
    import click

    found: list[tuple[str, ...]] = [()]
    context = click.Context(root.flm)
    for name in root.flm.list_commands(context):
        member = root.flm.get_command(context, name)
        found.append((name,))
        if isinstance(member, click.Group):
            found += [(name, inner) for inner in member.list_commands(context)]
    return found


def test_a_wrong_option_is_the_users_to_mend(flm: Flm) -> None:
    """Exit code 1, what is wrong, what might be meant, and where help is."""
    ran = flm("api-keys", "create", "--lable", "x")

    assert ran.code == 1
    assert ran.out == ""
    assert ran.err == (
        "Error: No such option '--lable'. (Did you mean one of: '--label', '--lang'?)\n"
        "See `flm api-keys create --help`.\n"
    )


def test_a_wrong_command_line_is_json_when_json_was_asked_for(flm: Flm) -> None:
    """Even where `--format json` stands behind what is wrong."""
    ran = flm("engine", "--format", "json")

    assert ran.code == 1
    assert ran.out == ""
    assert ran.error == {
        "code": "usage",
        "message": "No such command 'engine'. Did you mean 'engines'?",
        "remedy": "See `flm --help`.",
    }


def test_a_wrong_command_line_is_told_in_japanese(flm: Flm) -> None:
    """click's sentences come from the catalogues as well."""
    ran = flm("--lang", "ja", "api-keys", "create")

    assert ran.code == 1
    assert ran.err.startswith("エラー: オプションが足りません: '--label'")


def test_a_language_that_is_not_spoken_is_refused(flm: Flm) -> None:
    """From the option and from the variable alike."""
    assert flm("--lang", "fr").err.startswith("Error: --lang is 'fr'")
    assert flm(environ={"FLM_LANG": "fr"}).err.startswith("Error: FLM_LANG is 'fr'")


@pytest.mark.usefixtures("breaks")
def test_an_error_of_ours_is_a_sentence_and_a_remedy(flm: Flm) -> None:
    """On stderr, filled in, with exit code 1."""
    ran = flm("breaks", environ={"FLM_HOW": "user"})

    assert (ran.code, ran.out, ran.err) == (1, "", "Error: x is wrong.\nUse y.\n")


@pytest.mark.usefixtures("breaks")
def test_an_error_of_ours_is_json_for_programs(flm: Flm) -> None:
    """Code, message and remedy."""
    ran = flm("breaks", "--format", "json", environ={"FLM_HOW": "user"})

    assert ran.error == {"code": "invalid_value", "message": "x is wrong.", "remedy": "Use y."}


@pytest.mark.usefixtures("breaks")
def test_what_nobody_foresaw_is_one_sentence_and_exit_code_2(flm: Flm) -> None:
    """It names the kind and where the details are; there is no traceback."""
    ran = flm("breaks", environ={"FLM_HOW": "bug"})

    assert ran.code == 2
    assert "ZeroDivisionError: division by)" in ran.err
    assert "--debug" in ran.err
    assert "controller.log" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("breaks")
def test_debug_shows_where_it_came_from(flm: Flm) -> None:
    """The traceback, then the sentence."""
    ran = flm("breaks", "--debug", environ={"FLM_HOW": "bug"})

    assert ran.code == 2
    assert "Traceback" in ran.err
    assert "in breaks_command" in ran.err


@pytest.mark.usefixtures("breaks")
def test_an_interrupt_is_no_error(flm: Flm) -> None:
    """Exit code 130, as shells expect, and nothing but a new line."""
    ran = flm("breaks", environ={"FLM_HOW": "interrupt"})

    assert (ran.code, ran.out, ran.err) == (130, "", "\n")


def test_output_is_utf_8_whatever_the_code_page() -> None:
    """A Japanese Windows says cp932, which has neither é nor an emoji."""
    done = subprocess.run(
        [sys.executable, "-m", "flm", "--lang", "ja", "é😀"],
        env={**os.environ, "PYTHONIOENCODING": "cp932"},
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.decode("utf-8").startswith("エラー: 'é😀' というコマンドはありません。")


def test_a_name_that_is_no_utf_8_is_shown_as_an_escape() -> None:
    """Linux file names are bytes; the terminal is not given them raw."""
    done = subprocess.run(
        [sys.executable, "-m", "flm", b"a\xff\x1b[31m"],
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"\xff" not in done.stderr


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    """`flm … | head -1` says nothing on stderr."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m flm --help | head -1"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    assert done.stdout == "Usage: flm [OPTIONS] COMMAND [ARGS]...\n"
    assert done.stderr == ""


def test_a_closed_pipe_is_not_an_error() -> None:
    """The write fails for certain: the reading end is closed before the command starts."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "flm", "--help"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_not_an_error(data_dir: Path, closed: str) -> None:
    """Cron and service managers start commands without them."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m flm api-keys create --label x {closed}"],
        env={**os.environ, "FLM_DATA_DIR": str(data_dir)},
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_help_imports_neither_the_database_nor_the_event_loop() -> None:
    """What only one command needs is imported there."""
    code = (
        "import sys; from flm.cli.entry import run; run(['--help'], {}); "
        "print(sorted({'sqlalchemy', 'asyncio', 'rich', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told_to_programs_too(flm: Flm) -> None:
    """As text and as JSON."""
    assert flm("--version").out == "FLM 0.1.0\n"
    assert flm("--version", "--format", "json").data == {"version": "0.1.0"}


def test_flm_gateway_calls_itself_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Where another `flm` is in the way, the hints must not lead there."""
    assert run(["nothing"], {}, "flm-gateway") == 1
    assert "See `flm-gateway --help`." in capsys.readouterr().err
