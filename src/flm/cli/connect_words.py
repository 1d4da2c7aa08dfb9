"""What `flm connect` says, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flm.cli import documents, output, phrases, terminal
from flm.cli.session import Session
from flm.errors import N_
from flm.services.connect.formats import applied
from flm.services.connect.shells import assigned, reference, shell_of
from flm.services.connect.situation import PLACEHOLDER, VARIABLE, Settings, dotted

if TYPE_CHECKING:
    from flm.services.connect.proof import Proof
    from flm.services.connect.wishes import Made, Undone
    from flm.services.connect.writing import Written

_SHOWN = "flm_…"
_Write = Callable[[str], None]


def tell(session: Session, made: Made, aside: _Write) -> None:
    """Settings, what was done with them, the key; ``aside``: where all but lines to run goes."""
    words, situation, model = session.words, made.situation, made.situation.model
    url = situation.root_url if made.client.dialect == "messages" else situation.base_url
    aside(words(N_("{client} → {url}"), client=made.client.title, url=url))
    if model.name:
        aside(_visible(words(N_("Model: {model}"), model=_model(session, made))))
    if made.written:
        for each in made.written:
            aside(_visible(_written(session, each)))
    else:
        _show_settings(session, made, aside)
    _show_key(session, made, aside)
    for line in made.settings.lines:
        output.write(line)
    for found in (*made.concerns, *made.settings.notes):
        output.note("\n".join(phrases.finding(words, found)))


def _model(session: Session, made: Made) -> str:
    model = made.situation.model
    if model.context is None:
        return f"{model.name} ({model.engine})"
    return session.words(
        N_("{model} ({engine}), context {tokens} tokens"),
        model=model.name,
        engine=model.engine,
        tokens=phrases.tokens(model.context),
    )


def _show_settings(session: Session, made: Made, aside: _Write) -> None:
    for path, text in snippets(made.settings):
        aside(_visible(session.words(N_("\nInto {path}:"), path=path)) + "\n")
        indented = "\n".join(f"  {line}" if line else "" for line in text.rstrip().split("\n"))
        aside(terminal.visible_lines(indented) + "\n")
    if made.settings.files and not made.client.variable and not made.show:
        aside(
            session.words(
                N_("In place of {placeholder} goes a key: `flm connect {client} --write` makes one "
                   "and puts it there, --new-key LABEL makes one and shows it."),
                placeholder=PLACEHOLDER,
                client=made.client.name,
            )
        )  # fmt: skip


def _show_key(session: Session, made: Made, aside: _Write) -> None:
    """A key that was made now stands in one line of all that is printed."""
    shell = shell_of(made.situation.platform, made.situation.environ)
    hint = session.words(N_("Key, shown this once; keep it where secrets are kept:"))
    if made.client.variable and not (made.written and made.client.keeps_key):
        if made.show and made.key is not None:
            aside(hint)
            output.write(assigned(shell, VARIABLE, made.key))
            return
        if made.key_id is not None:
            aside(
                session.words(
                    N_("{client} goes on with the key {key}, which was shown when it was made; "
                       "--new-key LABEL makes another."),
                    client=made.client.title,
                    key=made.key_id,
                )
            )  # fmt: skip
            return
        aside(
            session.words(
                N_("The key is taken from {variable}: `{line}`. `flm connect {client} --new-key "
                   "LABEL` makes one."),
                variable=reference(shell),
                line=assigned(shell, VARIABLE, _SHOWN),
                client=made.client.name,
            )
        )  # fmt: skip
    elif made.show and made.key is not None:
        aside(hint)
        output.write(made.key)


def _written(session: Session, each: Written) -> str:
    if not each.changed:
        return session.words(N_("{path} says all of it already."), path=each.path)
    if each.backup is None:
        return session.words(N_("{path} is made."), path=each.path)
    return session.words(
        N_("{path} is written; as it was: {backup}"), path=each.path, backup=each.backup
    )


def proved(session: Session, proof: Proof) -> str:
    """What came back, on one line."""
    words, seconds = session.words, f"{proof.seconds:.1f}"
    if proof.models is not None:
        return words(
            N_("{path} answered in {seconds} s: {count} models."),
            path=proof.path,
            seconds=seconds,
            count=proof.models,
        )
    return _visible(
        words(
            N_("{path} answered in {seconds} s: {model}, {tokens_in} tokens in, {tokens_out} out."),
            path=proof.path,
            seconds=seconds,
            model=proof.model,
            tokens_in=phrases.tokens(proof.tokens_in),
            tokens_out=phrases.tokens(proof.tokens_out),
        )
    )


def undone(session: Session, told: Undone, data_dir: Path) -> None:
    """What was taken back."""
    if session.json:
        session.document(
            {
                "client": told.client.name,
                "files": [
                    {
                        "path": each.path,
                        "changed": each.changed,
                        "removed": each.removed,
                        "kept": [dotted(path) for path in each.kept],
                        "backup": each.backup,
                    }
                    for each in told.files
                ],
                "revoked_key_id": told.key_id,
            }
        )
        return
    if not told.files and told.key_id is None:
        session.say(
            N_("Nothing to undo: FLM wrote no settings for {client} (by {path})."),
            client=told.client.title,
            path=data_dir,
        )
    for each in told.files:
        template = N_("{path} holds nothing of FLM's.")
        if each.removed:
            template = N_("{path}, which FLM had made, is removed.")
        elif each.changed:
            template = N_("FLM's entries are taken out of {path}.")
        session.write(_visible(session.words(template, path=each.path)))
        for path in each.kept:
            line = session.words(N_("  {entry} was changed since, and stays."), entry=dotted(path))
            session.write(_visible(line))
    if told.key_id is not None:
        session.say(N_("The key {key} is revoked."), key=told.key_id)


def snippets(settings: Settings) -> list[tuple[str, str]]:
    """Each file's path, and what a file that held nothing else would hold."""
    return [(file.path, applied(file.format, "", file.entries)) for file in settings.files]


def document(made: Made, proof: Proof | None) -> documents.Document:
    """The one document of `flm connect --format json`; the key only when it is shown at all."""
    model = made.situation.model
    shown = dict(snippets(made.settings))
    return {
        "client": made.client.name,
        "base_url": made.situation.base_url,
        "root_url": made.situation.root_url,
        "model": {
            "id": model.name,
            "engine": model.engine,
            "context_length": model.context,
            "trained_context": model.trained,
            "tools": model.tools,
            "vision": model.vision,
            "remote": model.remote,
        },
        "needs_context": made.client.needs,
        "files": [
            {"path": file.path, "format": file.format, "settings": shown[file.path]}
            for file in made.settings.files
        ],
        "lines": [line for line in made.settings.lines if line],
        "written": [
            {"path": each.path, "changed": each.changed, "backup": each.backup}
            for each in made.written
        ],
        "api_key": made.key if made.show else None,
        "key_id": made.key_id,
        "variable": VARIABLE if made.client.variable else None,
        "findings": [documents.finding(each) for each in (*made.concerns, *made.settings.notes)],
        "proof": None
        if proof is None
        else {
            "path": proof.path,
            "model": proof.model,
            "seconds": round(proof.seconds, 3),
            "tokens_in": proof.tokens_in,
            "tokens_out": proof.tokens_out,
            "models": proof.models,
        },
    }


def _visible(text: str) -> str:
    return terminal.visible_lines(text)
