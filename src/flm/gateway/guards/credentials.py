"""The key: who asks.

`Authorization: Bearer` and `x-api-key` are read by this one extractor. Every attempt with FLM's
form costs exactly one HMAC and one compare, against a dummy when the id is unknown; the text and
headers of all refusals are equal, but for two different FLM keys at once. Where the owner said so,
a request without any (what has not FLM's form is none: clients that must send something send
`ollama` or `sk-none`) counts as a key's by the address of its peer.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from flm.domain.keys import ID_END, ID_START, OWNER_ID, OWNER_LOOKUP_ID, has_form
from flm.errors import Refusal
from flm.gateway.edge.request import Request
from flm.gateway.exchange import Exchange
from flm.gateway.keyless import comes_by_itself
from flm.gateway.live import Live

_DUMMY: Final = bytes(32)
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="flm"'),)
NOT_VALID: Final = (
    "A valid FLM API key is required: send it as 'Authorization: Bearer flm_...' or 'x-api-key'."
)


def extract(request: Request) -> bytes | None:
    """The credential of FLM's form, None when there is none.

    If exactly one of them has FLM's form it counts and the others are dropped (Anthropic clients
    send both headers). Raises 401 `conflicting_credentials` for two different FLM keys.
    """
    found: bytes | None = None
    values = request.values
    if not request.doubled and b"x-api-key" not in values:
        only = values.get(b"authorization")
        if only is None:
            return None
        if only[:7] == b"Bearer " and has_form(only[7:]):
            return only[7:]
    bearers = [
        value[7:].strip()
        for value in request.all(b"authorization")
        if value[:7].lower() == b"bearer "
    ]
    for candidate in (*bearers, *(value.strip() for value in request.all(b"x-api-key"))):
        if not has_form(candidate):
            continue
        if found is None:
            found = candidate
        elif found != candidate:
            raise Refusal(
                401,
                "conflicting_credentials",
                "The Authorization and x-api-key headers hold two different FLM keys; send one.",
                kind="authentication_error",
                headers=_CHALLENGE,
            )
    return found


def credentials_guard(exchange: Exchange, live: Live) -> None:
    """Find the key and note its id; raise 401 `invalid_api_key` unless it may be used now."""
    route = exchange.route
    assert route is not None
    if route.permission == "public":
        return
    request = exchange.request
    assert request is not None
    credential = request.credential
    if credential == b"":
        credential = request.credential = extract(request)
    if credential is not None:
        entry = live.entries.get(credential[ID_START:ID_END])
        expected = _DUMMY if entry is None else entry.digest
        matches = compare_digest(live.digest(credential), expected)
        if (
            matches
            and entry is not None
            and (entry.expires_at is None or entry.expires_at > exchange.arrived)
        ):
            exchange.key_id = OWNER_ID if entry.id == OWNER_LOOKUP_ID else entry.id
            return
    elif live.keyless:
        entry = live.keyless.entry(exchange.client)
        if (
            entry is not None
            and (entry.expires_at is None or entry.expires_at > exchange.arrived)
            and comes_by_itself(request, live.allowed_hosts)
        ):
            exchange.key_id = entry.id
            return
    raise Refusal(
        401, "invalid_api_key", NOT_VALID, kind="authentication_error", headers=_CHALLENGE
    )
