"""Everything that is known of a model at one of its homes, and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flm.cli import documents, output, phrases, terminal
from flm.cli.session import Session
from flm.domain.engines import EMBEDDED
from flm.domain.models import Model
from flm.errors import N_
from flm.language import Words
from flm.services.model_homes import Home
from flm.services.model_overrides import Override, capabilities_override, context_override
from flm.settings import Settings


class Facts(NamedTuple):
    """A model at home. ``path``: its file, where the embedded engine serves it."""

    home: Home
    context: Override | None
    capabilities: Override | None
    path: str | None = None

    @property
    def teller(self) -> str:
        """Who tells what nobody set: `engine`, or `file` for the embedded engine's."""
        return "file" if self.home.engine.id == EMBEDDED else "engine"


def gathered(home: Home, settings: Settings, paths: Mapping[str, str]) -> Facts:
    """What is known; ``paths``: the files of the embedded engine by name."""
    return Facts(
        home,
        context_override(settings, home),
        capabilities_override(settings, home),
        paths.get(home.model.name) if home.engine.id == EMBEDDED else None,
    )


def document(facts: Facts) -> dict[str, Any]:
    """For programs. ``sources`` says `engine`, `file` or `setting`."""
    home = facts.home
    told = documents.model(home.model)
    sources = dict.fromkeys(
        ("trained_context", "size_bytes", "quantization", "family", "parameters"), facts.teller
    )
    for name, override in (
        ("context_length", facts.context),
        ("capabilities", facts.capabilities),
    ):
        sources[name] = "setting" if override and override.in_force else facts.teller
    return {
        **told,
        "engine_name": home.own_name,
        "home": documents.engine(home.engine),
        "path": facts.path,
        "sources": sources,
        "overrides": [
            {"setting": each.setting, "value": each.value, "in_force": each.in_force}
            for each in (facts.context, facts.capabilities)
            if each is not None
        ],
    }


def show(session: Session, facts: Facts) -> None:
    """For people: a line for each fact, with who says so where that is worth knowing."""
    session.write(terminal.visible(facts.home.model.target))
    rows = [
        (f"  {session.words(label)}", terminal.visible(value), source)
        for label, value, source in _rows(session.words, facts)
    ]
    output.write("\n".join(line.rstrip() for line in terminal.columns(rows)))
    for each in (facts.context, facts.capabilities):
        if each is not None and not each.in_force:
            session.note(
                N_("{setting} is set to {value}, which does not hold: the engine goes by what it "
                   "was started or loaded with."),
                setting=each.setting,
                value=each.value,
            )  # fmt: skip


def _rows(words: Words, facts: Facts) -> list[tuple[str, str, str]]:
    """Label, value, and who says so."""
    home, model = facts.home, facts.home.model
    unknown = words(N_("not known"))
    teller = words(N_("its file")) if facts.teller == "file" else words(N_("the engine"))
    able = ", ".join(model.capabilities) or unknown
    rows = [
        (N_("Engine"), _engine(words, home), ""),
        (N_("Can do"), able, _by(words, facts.capabilities) or teller),
        (N_("Context"), _tokens(words, model.context_length), _by(words, facts.context) or teller),
        (N_("Trained for"), _tokens(words, model.trained_context), teller),
        (N_("Parameters"), model.parameters or unknown, teller),
        (N_("Quantisation"), model.quantization or unknown, teller),
        (N_("Family"), model.family or unknown, teller),
        (N_("Size"), phrases.size(model.size_bytes), teller),
        (N_("Loaded"), _loaded(words, model), ""),
        (N_("Remote"), _remote(words, model), ""),
    ]
    if home.own_name != model.name:
        rows.insert(1, (N_("Name there"), home.own_name, ""))
    if facts.path is not None:
        rows.append((N_("File"), facts.path, ""))
    return [
        (label, value, "" if value in (unknown, "-") else source) for label, value, source in rows
    ]


def _loaded(words: Words, model: Model) -> str:
    if model.loaded is None:
        return words(N_("not known"))
    if model.loaded:
        return words(N_("yes"))
    return words(N_("no; `flm models load` loads it")) if model.by_hand else words(N_("no"))


def _remote(words: Words, model: Model) -> str:
    return words(N_("yes: prompts to it leave this machine")) if model.remote else words(N_("no"))


def _by(words: Words, override: Override | None) -> str:
    if override is None or not override.in_force:
        return ""
    return words(N_("set: {setting}"), setting=override.setting)


def _engine(words: Words, home: Home) -> str:
    engine = home.engine
    state = phrases.engine_state(words, engine)
    if engine.address is None:
        return state
    return f"{engine.product or engine.kind}, {engine.address.url}: {state}"


def _tokens(words: Words, number: int | None) -> str:
    if not number:
        return words(N_("not known"))
    return words(N_("{count} tokens"), count=phrases.tokens(number))
