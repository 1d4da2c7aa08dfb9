"""What FLM hears when it asks its own gateway."""

from __future__ import annotations

from flm.services.gateway_answers import error_in, no_answer, remedy


def test_an_error_is_read_in_either_shape() -> None:
    """OpenAI's has a code, Anthropic's a type."""
    assert error_in(b'{"error": {"code": "busy", "type": "x", "message": "Later."}}') == (
        "busy",
        "Later.",
    )
    assert error_in(b'{"error": {"type": "api_error", "message": "No."}}') == ("api_error", "No.")


def test_an_error_of_another_shape_has_no_code() -> None:
    """How it begins says more than nothing."""
    assert error_in(b'{"error": {"message": "No."}}') == ("", "No.")
    assert error_in(b'["no"]') == ("", '["no"]')
    assert error_in(b"<html>" + b"x" * 300) == ("", "<html>" + "x" * 194)


def test_silence_is_told_with_its_reason() -> None:
    """By its kind where it says nothing."""
    assert str(no_answer("http://127.0.0.1:1/v1", TimeoutError())) == (
        "The gateway at http://127.0.0.1:1/v1 does not answer: TimeoutError."
    )


def test_each_kind_of_error_has_a_remedy() -> None:
    """By its status."""
    assert remedy(404) == ("`flm models list` shows the names there are; choose one with --model.")
    assert remedy(429) == "The engine is busy; run the command again in a moment."
    assert "`flm engines list`" in remedy(503)
    assert "`flm logs` shows the request" in remedy(400)
