"""Whose business a listener is."""

from __future__ import annotations

import pytest

from flm.ports.engines import Identity
from flm.ports.machine import Listener
from flm.services.detection_places import is_child


@pytest.mark.parametrize(
    ("chain", "product", "expected"),
    [
        (((9, "flm"), (8, "flm")), "llama.cpp", True),
        (((9, "llama-server"), (8, "flm")), "llama.cpp", True),
        (((9, "ollama"), (8, "flm"), (7, "flm")), "Ollama", True),
        (((9, "flm"), (8, "bash")), "FastFlowLM", False),
        (((9, "llama-server"), (8, "bash")), "llama.cpp", False),
    ],
)
def test_what_another_flm_runs_is_its_own_business(
    chain: tuple[tuple[int, str], ...], product: str, expected: bool
) -> None:
    """Embedded or started: it demands a key that only that FLM knows. FastFlowLM is no FLM."""
    listener = Listener(host="127.0.0.1", port=41_667, chain=chain)
    identity = Identity(kind="llamacpp", product=product)
    assert is_child(identity, listener, own_pid=1) is expected
