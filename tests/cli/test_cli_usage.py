"""`flm usage`: for people, for programs and for spreadsheets."""

from __future__ import annotations

import csv
import io
import re
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.conftest import Flm

from flm.domain.records import RequestRecord
from flm.paths import data_paths, prepare
from flm.ports.telemetry import Checkpoint
from flm.store import migrate, open_store

HOUR = 1_767_225_600.0
"""2026-01-01T00:00Z."""


def store(data_dir: Path, *records: RequestRecord) -> None:
    paths = data_paths(data_dir)
    prepare(paths)
    migrate(paths)
    with closing(open_store(paths)) as opened:
        opened.records.store("i", records, Checkpoint(1, 1))


def record(id_: str, **changes: object) -> RequestRecord:
    plain = {
        "time": HOUR, "key_id": "owner", "model": "qwen3:8b", "engine": "ollama",
        "route": "/v1/chat/completions", "status": 200, "error": "", "latency_ms": 1_100.0,
        "first_token_ms": 100.0, "tokens_in": 1_000, "tokens_out": 51, "client": "127.0.0.1",
        "streamed": True, "cached_tokens": 200, "reasoning_tokens": 30,
    }  # fmt: skip
    return RequestRecord(id=id_, **{**plain, **changes})


SUMS = {
    "requests": 1,
    "errors": 0,
    "tokens_in": 1_000,
    "tokens_out": 51,
    "cached_tokens": 200,
    "reasoning_tokens": 30,
    "estimated_requests": 0,
    "untold_requests": 0,
    "mean_latency_ms": 1_100.0,
    "mean_first_token_ms": 100.0,
    "tokens_per_second": 50.0,
}


def test_programs_get_rows_and_a_total(flm: Flm, data_dir: Path):
    """What nobody measured is null, and so is a name that there is none of."""
    refused = record(
        "b", key_id="", model="x", engine="", status=401, error="invalid_api_key",
        first_token_ms=None, tokens_in=None, tokens_out=None, cached_tokens=None,
        reasoning_tokens=None,
    )  # fmt: skip
    store(data_dir, record("a"), refused)
    nothing = dict.fromkeys(SUMS, 0)
    means = dict.fromkeys(("mean_latency_ms", "mean_first_token_ms", "tokens_per_second"))

    assert flm("usage", "--by", "model", "--format", "json").data == {
        "by": "model",
        "since": None,
        "until": None,
        "rows": [
            {"model": "qwen3:8b", **SUMS},
            {"model": None, **nothing, "requests": 1, "errors": 1, **means},
        ],
        "total": {**SUMS, "requests": 2, "errors": 1},
    }


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ("key", {"key_id": "owner", "label": None}),
        ("engine", {"engine": "ollama"}),
        ("api", {"api": None}),
        ("day", {"day": "2026-01-01"}),
        ("hour", {"hour": "2026-01-01T00:00Z"}),
    ],
)
def test_rows_name_what_they_are_told_apart_by(flm: Flm, data_dir: Path, by: str, name: dict):
    """A key by its id and label."""
    store(data_dir, record("a"))
    told = flm("usage", "--by", by, "--since", "2025-12-31T23:10", "--format", "json").data
    assert told["since"] == "2025-12-31T23:00:00.000Z"
    assert told["rows"] == [{**name, **SUMS}]


def test_people_get_a_table_with_a_total(flm: Flm, data_dir: Path):
    """Keys by their labels; an estimate is marked, and what nobody knows is said."""
    made = flm("api-keys", "create", "--label", "ノート PC", "--format", "json").data
    key = made["id"]
    silent = record("b", key_id=key, tokens_in=None, tokens_out=None, first_token_ms=None)
    store(data_dir, record("a", key_id=key, estimated=True), silent)
    ran = flm("usage", "--by", "key")
    assert ran.err == "Requests whose tokens nobody told: 1\n"
    sums = ["2", "0", "~1,000", "~51", "200", "30", "1,100 ms", "100 ms", "50.0"]
    assert [re.split(" {2,}", line) for line in ran.out.splitlines()] == [
        [
            *("Key", "Requests", "Errors", "Tokens in", "Tokens out", "Cached", "Thoughts"),
            *("Took", "First token", "Tokens a second"),
        ],
        [f"ノート PC ({key})", *sums],
        ["Total", *sums],
    ]


def test_nothing_used_is_said(flm: Flm):
    """As a sentence, as an empty document, and as a table of headings."""
    assert flm("usage").err == "Nothing was used in that time.\n"
    assert flm("usage", "--format", "json").data["rows"] == []
    assert flm("usage", "--format", "csv").out.count("\r\n") == 1


def test_a_spreadsheet_takes_nothing_for_a_formula(flm: Flm, data_dir: Path):
    """RFC 4180: quoted where need be, lines that end with CRLF; an apostrophe leads a formula."""
    models = ['=HYPERLINK("http://x","y")', "+1", "-1", "@x", "＝1", 'a, "b"\n', "\t=1"]
    store(data_dir, *(record(str(n), model=model) for n, model in enumerate(models)))
    out = flm("usage", "--format", "csv").out
    assert out.endswith("\r\n")
    heading, *rows = csv.reader(io.StringIO(out, newline=""), strict=True)
    assert heading == ["model", *SUMS]
    assert [row[1:] for row in rows] == [[str(value) for value in SUMS.values()]] * 7
    assert {row[0] for row in rows} == {
        "'=HYPERLINK(\"http://x\",\"y\")", "'+1", "'-1", "'@x", "'＝1", 'a, "b"\\n', "\\t=1",
    }  # fmt: skip


def test_what_is_unknown_is_an_empty_field(flm: Flm, data_dir: Path):
    """Neither a zero nor a word."""
    store(data_dir, record("a", tokens_in=None, tokens_out=None, first_token_ms=None, engine="e"))
    heading, row = csv.DictReader(io.StringIO(flm("usage", "--format", "csv").out)), None
    (row,) = heading
    assert (row["tokens_per_second"], row["mean_first_token_ms"]) == ("", "")
    assert (row["untold_requests"], row["tokens_in"]) == ("1", "0")


def test_other_commands_know_no_csv(flm: Flm):
    """It is refused, not ignored, wherever it stands."""
    before = flm("--format", "csv", "logs")
    assert (before.code, before.out) == (1, "")
    assert before.err == "Error: This command answers in text, json, not in csv.\n"
    assert flm("--format", "csv", "usage", "--by", "api").out.startswith("api,requests,errors,")
    ran = flm("logs", "--format", "csv")
    assert (ran.code, ran.out) == (1, "")
    assert "'csv' is not one of 'text', 'json'" in ran.err
    assert "[text|json|csv]" in flm("usage", "--help").out
    assert "[text|json]" in flm("logs", "--help").out


def test_a_wrong_span_is_refused(flm: Flm):
    """Exit code 1 and a remedy."""
    ran = flm("usage", "--until", "soon", "--format", "json")
    assert (ran.code, ran.error["code"]) == (1, "invalid_value")
    assert ran.error["remedy"].startswith("Give a span such as 15m")
