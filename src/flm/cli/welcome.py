"""What `flm up` says when requests are answered: where, with which key, what, and how to stop."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flm.cli import documents, phrases, snippets, terminal
from flm.domain.engines import Engine, serves
from flm.domain.models import Model
from flm.errors import N_
from flm.language import Words
from flm.services.connect.situation import CLIENTS


class Shell(NamedTuple):
    """Where lines will be pasted: the quoting, a Python to call there, and whether curl would
    take a proxy even to this machine."""

    windows: bool
    interpreter: str
    proxied: bool = False


class Serving(NamedTuple):
    """What is served, at ``base_url`` for clients of OpenAI's API and at ``root_url`` for those of
    Anthropic's and Ollama's. ``api_key`` is None when no key was made now; ``key_id`` is that of
    the key made now, else of the newest that may be used."""

    base_url: str
    root_url: str
    api_key: str | None
    key_id: str | None
    pid: int
    engines: Sequence[Engine]
    models: Sequence[Model]
    demo: bool
    here: bool
    """Whether this very process serves, so that Ctrl-C ends it."""


def document(serving: Serving) -> documents.Document:
    """The one JSON document of `flm up --format json`."""
    return {
        "base_url": serving.base_url,
        "root_url": serving.root_url,
        "api_key": serving.api_key,
        "key_id": serving.key_id,
        "pid": serving.pid,
        "engines": [documents.engine(engine) for engine in serving.engines],
        "models": [documents.model(model) for model in serving.models],
    }


def shell(platform: str, executable: str, python3: str | None, environ: Mapping[str, str]) -> Shell:
    """The shell people paste into; the Python is one that is there for sure."""
    proxied = any(environ.get(name) for name in ("http_proxy", "all_proxy", "ALL_PROXY"))
    if platform == "win32":
        return Shell(True, f'& "{executable}"', proxied)
    return Shell(False, "python3" if python3 else shlex.quote(executable), proxied)


def text(words: Words, serving: Serving, target: Shell) -> str:
    """The whole page, from the address to how to stop."""
    parts = [words(N_("FLM serves {url}"), url=serving.base_url) + "\n  " + _bases(words, serving)]
    parts.append(_key(words, serving.api_key, target))
    parts.append(_found(words, serving.engines, serving.models))
    if serving.demo:
        parts.append(
            words(
                N_("The words of flm-demo are gibberish, its weights are random; the path they "
                   "take is the real one.")
            )
        )  # fmt: skip
    parts.append(_lines(words, serving, target))
    if serving.models:
        parts.append(
            words(
                N_("`flm connect CLIENT` shows the exact settings of a client and writes them with "
                   "--write: {clients}."),
                clients=", ".join(CLIENTS),
            )
        )  # fmt: skip
    parts.append(
        words(N_("Stop with Ctrl-C."))
        if serving.here
        else words(N_("It runs as process {pid}; `flm proxy stop` stops it."), pid=serving.pid)
    )
    return "\n\n".join(parts)


def _bases(words: Words, serving: Serving) -> str:
    return words(
        N_("Base URL for OpenAI's clients: {url}; for Anthropic's and Ollama's: {root}"),
        url=serving.base_url,
        root=serving.root_url,
    )


def _key(words: Words, key: str | None, target: Shell) -> str:
    if key is not None:
        return words(N_("Key, shown this once; keep it where secrets are kept:")) + f"\n  {key}"
    placeholder = snippets.set_variable("flm_…", windows=target.windows)
    return words(
        N_("The key was shown when it was made. The lines below take it from {variable}:\n"
           "  {line}\n"
           "`flm up --new-key` or `flm api-keys create --label NAME` makes a new one."),
        variable=f"${snippets.VARIABLE}" if not target.windows else f"$env:{snippets.VARIABLE}",
        line=placeholder,
    )  # fmt: skip


def _found(words: Words, engines: Sequence[Engine], models: Sequence[Model]) -> str:
    lines = [words(N_("Engines:"))]
    lines += [f"  {_engine(words, engine)}" for engine in engines]
    if not any(serves(engine.state) for engine in engines):
        lines.append("  " + words(N_("none that serves now")))
    lines.append(words(N_("Models:")))
    names = list(dict.fromkeys(model.name for model in models))
    if names:
        lines.append(f"  {phrases.listed(names)}")
    else:
        lines.append(
            "  "
            + words(
                N_("none yet. `flm models add FILE.gguf` adds a file, `flm engines add` an engine; "
                   "an engine that is started is found by itself.")
            )
        )  # fmt: skip
    return "\n".join(lines)


def _engine(words: Words, engine: Engine) -> str:
    """An engine on one line: what is known of it, and nothing else."""
    known = [engine.id, engine.version, phrases.engine_state(words, engine)]
    if engine.address is not None:
        known.append(engine.address.url)
    return terminal.visible("  ".join(part for part in known if part))


def _lines(words: Words, serving: Serving, target: Shell) -> str:
    request = _request(serving.models)
    key = serving.api_key
    curl = snippets.curl(
        serving.base_url, key, request, windows=target.windows, direct=target.proxied
    )
    python = snippets.python(serving.base_url, key, request, interpreter=target.interpreter)
    return "\n".join(
        (
            words(N_("Try it in another terminal:")),
            f"  {curl}",
            words(N_("or with Python:")),
            f"  {python}",
        )
    )


def _request(models: Sequence[Model]) -> snippets.Request:
    """Ask a model that chats; else one that embeds; else only which models there are."""
    chats = [model for model in models if "chat" in model.capabilities or not model.capabilities]
    if chats:
        return snippets.first_request(chats[0].name)
    if models:
        return snippets.first_request(models[0].name, embeddings=True)
    return snippets.first_request(None)
