"""The clients there are; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flm.services.connect.aider import Aider
from flm.services.connect.claude import Claude
from flm.services.connect.codex import Codex
from flm.services.connect.continue_dev import Continue
from flm.services.connect.env import Env
from flm.services.connect.open_webui import OpenWebUi
from flm.services.connect.situation import Client, ClientName
from flm.services.connect.zed import Zed

_ALL: tuple[Client, ...] = (
    Claude(), Codex(), OpenWebUi(), Continue(), Aider(), Zed(), Env(),
)  # fmt: skip

REGISTRY: Mapping[ClientName, Client] = MappingProxyType(
    {client.facts.name: client for client in _ALL}
)
