"""Codex: `config.toml` in `CODEX_HOME`.

By its configuration reference and its source, `model-provider-info` (2026-11): the Responses API
is the only one it speaks; a provider's key comes from the variable that `env_key` names, or lies in
the file as `experimental_bearer_token`, which also the desktop program and the editors see. Of a
model it does not know it takes the context for 272,000 tokens unless `model_context_window` says
otherwise.
"""

from __future__ import annotations

from typing import Any

from flm.errors import N_
from flm.services.connect.places import folder
from flm.services.connect.situation import (
    VARIABLE,
    Entry,
    Facts,
    FileSettings,
    Settings,
    Situation,
    note,
)

PROVIDER = "flm"


class Codex:
    """OpenAI's coding agent. Its prompt is some 5,000 tokens, and it reads whole files."""

    facts = Facts("codex", "Codex", "responses", needs=32_768, wants_tools=True, variable=True)

    def settings(self, situation: Situation) -> Settings:
        """A provider of its own, and the model of it as the one Codex begins with."""
        provider: dict[str, Any] = {
            "name": "FLM",
            "base_url": situation.base_url,
            "wire_api": "responses",
        }
        if situation.key is None:
            provider["env_key"] = VARIABLE
        else:
            provider["experimental_bearer_token"] = situation.key
        entries = [
            Entry(("model",), situation.model.name),
            Entry(("model_provider",), PROVIDER),
        ]
        if situation.model.context is not None:
            entries.append(Entry(("model_context_window",), situation.model.context))
        entries.append(Entry(("model_providers", PROVIDER), provider))
        path = folder(situation, "CODEX_HOME", ".codex") / "config.toml"
        return Settings(
            (FileSettings(str(path), "toml", tuple(entries)),),
            notes=(
                note(
                    "codex_default",
                    N_("This makes FLM what Codex begins with; `codex -c model_provider=openai "
                       "-m MODEL` asks OpenAI once."),
                ),
            ),
            rivals=(("profile",),),
        )  # fmt: skip
