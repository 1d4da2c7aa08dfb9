"""What the processes of the store's tests do: `python store_workers.py WHAT ROOT NAME`.

A worker imports, says `ready`, waits for a line on its standard input, works, and leaves.
"""

from __future__ import annotations

import sys
from contextlib import closing

from flm.domain.keys import ApiKey, KeyId
from flm.domain.records import RequestRecord
from flm.paths import DataPaths, data_paths, prepare
from flm.ports.telemetry import Checkpoint
from flm.store import FileSecrets, migrate, open_store


def first_use(paths: DataPaths, name: str) -> None:
    """What every process does that may be the first."""
    prepare(paths)
    migrate(paths)
    with closing(open_store(paths)) as store:
        store.settings.set(name, "1")


def write(paths: DataPaths, name: str) -> None:
    """Fifty changes in each of two databases."""
    with closing(open_store(paths)) as store:
        for number in range(50):
            store.settings.set(f"{name}.{number}", "1")
            store.keys.add(
                ApiKey(
                    id=KeyId(f"{name}{number}"),
                    label="x",
                    digest=b"0" * 32,
                    last4="abcd",
                    created_at=1.0,
                )
            )


def store_for_ever(paths: DataPaths, _name: str) -> None:
    """Batches of a hundred records, each said on standard output when it is stored."""
    with closing(open_store(paths)) as store:
        batch = 0
        while True:
            batch += 1
            records = [_record(batch, number) for number in range(100)]
            store.records.store("i", records, Checkpoint(batch, batch * 100))
            store.settings.set("batch", str(batch))
            print(batch, flush=True)


def pepper(paths: DataPaths, _name: str) -> None:
    """The pepper, made if it is not there."""
    print(FileSecrets(paths).pepper().hex(), flush=True)


def _record(batch: int, number: int) -> RequestRecord:
    return RequestRecord(
        id=f"{batch}-{number}",
        time=float(batch),
        key_id="k",
        model="m",
        engine="e",
        route="/",
        status=200,
        error="",
        latency_ms=1.0,
        first_token_ms=None,
        tokens_in=None,
        tokens_out=None,
        client="c",
        streamed=False,
    )


WORK = {
    "first_use": first_use,
    "write": write,
    "store_for_ever": store_for_ever,
    "pepper": pepper,
}

if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    WORK[sys.argv[1]](data_paths(sys.argv[2]), sys.argv[3])
