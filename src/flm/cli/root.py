"""`flm` itself: the commands there are, none of which is imported before it is used."""

from __future__ import annotations

import click

import flm as package
from flm.cli.commands import Group, Lazy, Option, session_of
from flm.errors import N_

COMMANDS = {
    "up": Lazy("flm.cli.up:up", N_("Find the engines here and serve them as one API.")),
    "chat": Lazy("flm.cli.chat:chat", N_("Ask a model something through the gateway.")),
    "engines": Lazy("flm.cli.engines:engines", N_("Engines: what runs here, and what you add.")),
    "models": Lazy("flm.cli.models:models", N_("Models: what the engines can run.")),
    "api": Lazy("flm.cli.api:api", N_("APIs: models under names of your own.")),
    "model-profiles": Lazy(
        "flm.cli.model_profiles:model_profiles", N_("Profiles: defaults, caps and engine options.")
    ),
    "api-keys": Lazy("flm.cli.api_keys:api_keys", N_("Keys: who may use the API.")),
    "connect": Lazy(
        "flm.cli.connect:connect",
        N_("Point a client at FLM: Claude Code, Codex, Open WebUI, Continue, aider, Zed."),
    ),
    "proxy": Lazy("flm.cli.proxy:proxy", N_("The gateway in the background: start, stop, status.")),
    "logs": Lazy("flm.cli.logs:logs", N_("What was served, and what failed.")),
    "usage": Lazy("flm.cli.usage:usage", N_("Who used what, and how fast it was.")),
    "check": Lazy("flm.cli.check:check", N_("Check whether everything is as it should be.")),
    "config": Lazy("flm.cli.config:config", N_("Settings: what they are and what they mean.")),
}


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    session = session_of(ctx)
    if session.json:
        session.document({"version": package.__version__})
    else:
        session.write(f"FLM {package.__version__}")
    ctx.exit(0)


flm = Group(
    "flm",
    lazy=COMMANDS,
    help=N_(
        "FLM turns the LLM engines on this machine into one API with keys, for clients of OpenAI, "
        "Anthropic and Ollama.\n\n"
        "Start with `flm up`; with no engine at hand, `flm up --demo` shows that the path works."
    ),
    params=[
        Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False,
            callback=_show_version, help=N_("Show the version and leave."),
        )
    ],
)  # fmt: skip
