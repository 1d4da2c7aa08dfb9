"""Which FLM is which: how one knows itself again behind an address.

Derived from the installation's pepper, so that the gateway, the controller and the command line
know it without being told; the pepper cannot be found from it.
"""

from __future__ import annotations

import hashlib
import hmac

WELL_KNOWN = "/.well-known/flm"
"""Where the API listener tells it: `{"instance": …}`. No key is asked."""


def instance_of(pepper: bytes) -> str:
    """The name of the FLM with that pepper: 16 hex digits, the same for its whole life."""
    return hmac.new(pepper, b"flm instance", hashlib.sha256).hexdigest()[:16]
