"""Which model a client is given, and what is to be known of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flm.domain.engines import Finding
from flm.domain.models import Model
from flm.errors import N_, InvalidValue
from flm.ports.machine import Platform
from flm.services.connect.shells import quoted
from flm.services.connect.situation import Chosen, Facts, warning


def best(models: Sequence[Model]) -> Chosen:
    """The chat model that does most: one that calls tools, with the largest context.

    Never one whose prompts leave this machine, nor one that must be loaded by hand first. Raises
    `InvalidValue` when there is none.
    """
    able = [model for model in models if "chat" in model.capabilities or not model.capabilities]
    local = [model for model in able if not model.remote]
    ready = [model for model in local if model.loaded or not model.by_hand]
    if ready:
        return chosen(max(ready, key=_worth))
    if able:
        raise InvalidValue(
            N_("No model is ready here that could be chosen without asking: {models}."),
            remedy=N_("Name one with --model; prompts to a remote one leave this machine."),
            code="no_model",
            models=", ".join(sorted({model.name for model in able})[:8]),
        )
    raise InvalidValue(
        N_("No chat model is served."),
        remedy=N_("`flm models list` shows what there is, `flm models pull` fetches one."),
        code="no_model",
    )


def _worth(model: Model) -> tuple[bool, bool, int, bool, str]:
    return (
        not model.demo,
        "tools" in model.capabilities,
        model.context_length or 0,
        bool(model.loaded),
        model.name,
    )


def chosen(model: Model) -> Chosen:
    """A model at its engine, as a client's."""
    return Chosen(
        name=model.name,
        engine=model.engine,
        context=model.context_length,
        trained=model.trained_context,
        tools="tools" in model.capabilities,
        vision="vision" in model.capabilities,
        remote=model.remote,
    )


def concerns(facts: Facts, model: Chosen, platform: Platform) -> tuple[Finding, ...]:
    """What the client will miss in this model."""
    found: list[Finding] = []
    if model.remote:
        found.append(
            warning(
                "remote_model",
                N_("{model} is remote: what {client} sends to it leaves this machine."),
                model=model.name,
                client=facts.title,
            )
        )
    if facts.wants_tools and not model.tools:
        found.append(
            warning(
                "no_tools",
                N_("{model} does not say that it can call tools, and {client} works by them."),
                N_("`flm models list` shows which ones can."),
                model=model.name,
                client=facts.title,
            )
        )
    short = _short_context(facts, model, platform)
    return (*found, short) if short is not None else tuple(found)


def _short_context(facts: Facts, model: Chosen, platform: Platform) -> Finding | None:
    if model.context is not None and model.context >= facts.needs:
        return None
    values = {
        "model": model.name,
        "client": facts.title,
        "needs": f"{facts.needs:,}",
        "context": f"{model.context or 0:,}",
        "trained": f"{model.trained or 0:,}",
        "line": context_line(model, facts.needs, platform),
    }
    if facts.needs == 0:
        return None
    if model.context is None:
        return warning(
            "context_unknown",
            N_("How long the context of {model} is, its engine does not tell; {client} needs about "
               "{needs} tokens."),
            N_("`{line}` asks the engine for that much."),
            **values,
        )  # fmt: skip
    if model.trained is not None and model.trained < facts.needs:
        return warning(
            "context_too_short",
            N_("{model} has a context of {context} tokens and was trained for {trained}; {client} "
               "needs about {needs}."),
            N_("Choose a model with more: `flm models list` shows them."),
            **values,
        )  # fmt: skip
    return warning(
        "context_too_short",
        N_("{model} has a context of {context} tokens; {client} needs about {needs}."),
        N_("`{line}` raises it; it takes more memory, and may need the model to be loaded again."),
        **values,
    )


def context_line(model: Chosen, tokens: int, platform: Platform) -> str:
    """The command that sets the context of a model at its engine."""
    setting = f"engines.{model.engine}.num_ctx[{model.name}]"
    return f"flm config set {quoted(platform, setting)} {tokens}"
