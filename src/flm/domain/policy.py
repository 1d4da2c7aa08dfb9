"""The policy: the one document of rules that requests are judged by."""

from __future__ import annotations

from typing import Literal

import msgspec

DANGEROUS_FIELDS: frozenset[str] = frozenset(
    {
        # redirect the request or its credentials (LiteLLM's CVE-2024-6587 and its successors)
        "api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "model_list",
        "mock_response", "extra_headers", "extra_body", "extra_query", "headers", "proxy",
        # reach into the engine: other users' slots and caches, negative n_discard is
        # CVE-2026-21869 (out-of-bounds write in llama.cpp)
        "n_discard", "n_keep", "id_slot", "slot_id", "cache_salt", "lora", "kv_transfer_params",
        # run or load things on this machine
        "integrations", "mcp_servers", "plugins", "lora_path",
    }
)  # fmt: skip
"""Top-level body fields that are refused with 400, whatever the policy says."""

UnknownParameters = Literal["forward", "drop", "reject"]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules. Unknown keys are refused when a policy is stored, so none is ever ignored.

    ``unknown_parameters``: what happens to body fields outside the dialect's own.
    ``allow_chat_template_kwargs``: vLLM evaluates them in its event loop (CVE-2025-62426).
    """

    version: Literal[1] = 1
    unknown_parameters: UnknownParameters = "forward"
    allow_chat_template_kwargs: bool = False
