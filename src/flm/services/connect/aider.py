"""aider: `.aider.conf.yml` and `.aider.model.metadata.json` in the home folder.

By aider.chat/docs: config/aider_conf, config/options, llms/openai-compat,
config/adv-model-settings (2026-11). Files of the git repository and of the current folder go
before the home folder's.
"""

from __future__ import annotations

from flm.errors import N_
from flm.services.connect.places import of_home
from flm.services.connect.situation import (
    Entry,
    Facts,
    FileSettings,
    Settings,
    Situation,
    note,
)


class Aider:
    """The pair programmer for terminals. It edits by text, not by tools."""

    facts = Facts("aider", "aider", "chat")

    def settings(self, situation: Situation) -> Settings:
        """`openai/` says which API to speak; the rest is the model's name."""
        model = situation.model
        name = f"openai/{model.name}"
        conf = (
            Entry(("openai-api-base",), situation.base_url),
            Entry(("openai-api-key",), situation.secret),
            Entry(("model",), name),
        )
        files = [FileSettings(of_home(situation, ".aider.conf.yml"), "yaml", conf)]
        if model.context is not None:
            metadata = {
                "max_input_tokens": model.context,
                "max_output_tokens": model.context,
                "max_tokens": model.context,
                "input_cost_per_token": 0,
                "output_cost_per_token": 0,
                "litellm_provider": "openai",
                "mode": "chat",
            }
            path = of_home(situation, ".aider.model.metadata.json")
            files.append(FileSettings(path, "json", (Entry((name,), metadata),)))
        return Settings(
            tuple(files),
            notes=(
                note(
                    "aider_nearer",
                    N_("A .aider.conf.yml in a repository or in the current folder goes before "
                       "this one."),
                ),
            ),
        )  # fmt: skip
