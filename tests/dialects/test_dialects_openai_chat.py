"""What a client's chat request may hold, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dialects_recorded import TARGETS, chat, embeddings
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.engine import CODECS
from flm.dialects.openai_embeddings import parse_embeddings
from flm.domain.policy import Policy
from flm.errors import Refusal

MESSAGES = [{"role": "user", "content": "hi"}]


def refused(policy: Policy | None = None, **fields: Any) -> Refusal:
    body = {"model": "m", "messages": MESSAGES, **fields}
    with pytest.raises(Refusal) as found:
        parse_chat(json.dumps(body).encode(), policy or Policy())
    return found.value


def test_every_field_arrives_as_it_came() -> None:
    """Known, unknown and null fields, whatever is in them."""
    fields = {
        "temperature": 0.0,
        "stop": ["\n", "終"],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [1]}}}],
        "seed": -5,
        "min_p": 0.05,
        "cache_prompt": True,
        "max_tokens": None,
    }
    request = chat(**fields)
    arrived = {name: json.loads(bytes(raw)) for name, raw in request.fields.items()}
    assert arrived == {"model": "mine", "messages": MESSAGES, **fields}
    assert (request.model, request.tools, request.images, request.stream) == (
        "mine",
        True,
        False,
        False,
    )


def test_a_stream_and_its_usage_are_known() -> None:
    """What the gateway decides by."""
    request = chat(stream=True, stream_options={"include_usage": True})
    assert (request.stream, request.include_usage) == (True, True)
    assert chat(stream=True).include_usage is False
    assert chat(stream=None).stream is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "warm"),
        ("temperature", True),
        ("top_p", 1.01),
        ("n", 0),
        ("n", 129),
        ("n", 1.5),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_completion_tokens", 0),
        ("presence_penalty", -2.5),
        ("frequency_penalty", 3),
        ("logprobs", 1),
        ("top_logprobs", 21),
        ("stop", 7),
        ("stop", ["a"] * 17),
        ("seed", "one"),
        ("seed", 2**63),
        ("stream", "yes"),
        ("tools", {}),
        ("response_format", "json"),
        ("messages", []),
        ("messages", "hi"),
        ("messages", None),
        ("model", ""),
        ("model", 3),
        ("model", "m" * 513),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    """400 `invalid_value`, the field in `param`."""
    error = refused(**{name: value})
    assert (error.status, error.code, error.param) == (400, "invalid_value", name)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [*MESSAGES, {"role": 1}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"tools": [7]}, "tools[0]"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_a_wrong_value_inside_is_named_with_its_place(fields: dict[str, Any], param: str) -> None:
    """As OpenAI names it."""
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role"),
    ],
)
def test_what_is_missing_is_named(body: bytes, param: str) -> None:
    """400 `missing_required_parameter`."""
    with pytest.raises(Refusal) as found:
        parse_chat(body, Policy())
    assert (found.value.code, found.value.param) == ("missing_required_parameter", param)


@pytest.mark.parametrize("name", ["base_url", "API_Base", "n_discard", "extra_headers", "lora"])
def test_a_dangerous_field_is_refused_in_any_case(name: str) -> None:
    """Engines in Go read names without regard to case."""
    error = refused(**{name: None})
    assert (error.status, error.code, error.param) == (400, "dangerous_parameter", name)


def test_a_known_name_in_another_case_is_refused() -> None:
    """`Model` would be a second model to an engine in Go, behind the judge's back."""
    error = refused(Model="another")
    assert (error.code, error.message) == (
        "unknown_parameter",
        "Unknown parameter 'Model': did you mean 'model'?",
    )


def test_template_arguments_need_the_policys_leave() -> None:
    """They are evaluated inside the engine."""
    given_ = {"chat_template_kwargs": {"enable_thinking": False}}
    assert refused(**given_).code == "dangerous_parameter"
    body = json.dumps({"model": "m", "messages": MESSAGES, **given_}).encode()
    allowed = parse_chat(body, Policy(allow_chat_template_kwargs=True))
    assert bytes(allowed.fields["chat_template_kwargs"]) == b'{"enable_thinking": false}'


def test_the_policy_decides_over_unknown_fields() -> None:
    """Forwarded, dropped and named, or rejected."""
    body = b'{"model":"m","messages":[{"role":"user"}],"top_k":4,"b\\u000ad":1}'
    assert set(parse_chat(body, Policy()).fields) == {"model", "messages", "top_k", "b\nd"}
    dropped = parse_chat(body, Policy(unknown_parameters="drop"))
    assert set(dropped.fields) == {"model", "messages"}
    assert dropped.dropped == ("b?d", "top_k")
    assert refused(Policy(unknown_parameters="reject"), top_k=4).code == "unknown_parameter"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/x.png"}},
        {"type": "image_url", "image_url": {"url": "HTTPS://example.com/x.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url", "image_url": {"url": "/etc/passwd"}},
        {"type": "image_url", "image_url": "http://10.0.0.1/"},
        {"image_url": {"url": "http://10.0.0.1/"}},
        {"type": "text", "text": "x", "image_url": {"url": "http://10.0.0.1/"}},
        {"type": "video_url", "video_url": {"url": "ftp://10.0.0.1/"}},
        {"type": "audio_url", "audio_url": {"url": " http://10.0.0.1/"}},
        {"type": "image", "image": "http://10.0.0.1/"},
        {"type": "image", "image": "ht\ntp://10.0.0.1/"},
        {"type": "image", "image": " " * 300 + "http://10.0.0.1/"},
        {"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/"}},
        {"type": "file", "file": {"file_data": "https://10.0.0.1/"}},
        {"type": "input_image", "image_url": ["data:,", "http://10.0.0.1/"]},
    ],
)
def test_nothing_is_fetched_for_a_client(part: dict[str, Any]) -> None:
    """Only `data:` URLs pass, under whatever name an engine may know them."""
    error = refused(messages=[{"role": "user", "content": [part]}])
    assert (error.status, error.code) == (400, "unsupported_image_url")
    assert "data:" in error.message
    assert error.param is not None
    assert error.param.startswith("messages[0].content[0].")


@pytest.mark.parametrize(
    ("part", "image"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}}, True),
        ({"type": "image_url", "image_url": "data:image/png;base64,iVBORw0="}, True),
        (
            {
                "type": "image_url",
                "image_url": {"url": "DATA:image/png;base64,iV", "detail": "low"},
            },
            True,
        ),
        ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, False),
        ({"type": "text", "text": "fetch http://10.0.0.1/ and file:///etc/passwd"}, False),
        ({"type": "text", "text": "x", "citations": [{"url": "https://example.com"}]}, False),
        (
            {"type": "file", "file": {"filename": "C:\\a.pdf", "file_data": "data:;base64,AA"}},
            False,
        ),
    ],
)
def test_what_is_sent_along_passes(part: dict[str, Any], image: bool) -> None:
    """Pictures and sounds in the body, and text whatever it says."""
    content = [{"type": "text", "text": "what is it"}, part]
    assert chat(messages=[{"role": "user", "content": content}]).images is image


def test_free_text_is_never_judged() -> None:
    """SQL, shell, HTML and the names of dangerous fields are what people ask about."""
    text = '\'; DROP TABLE users; -- <script>base_url</script> $(rm -rf /) {"n_discard":-1}'
    assert chat(messages=[{"role": "user", "content": text}], user=text).model == "mine"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.sampled_from(
        [
            "messages",
            "tools",
            "stop",
            "response_format",
            "logit_bias",
            "tool_choice",
            "options",
            "reasoning",
            "keep_alive",
            "seed",
            "format",
            "stream_options",
            "x",
        ]
    ),
)
def test_any_value_is_passed_on_or_refused(value: object, name: str) -> None:
    """Whatever a client sends: a request for each engine, or a refusal with status 400."""
    body = json.dumps({"model": "m", "messages": MESSAGES, name: value}).encode()
    try:
        request = parse_chat(body, Policy())
        for dialect, codec in CODECS.items():
            assert json.loads(codec.chat(request, TARGETS[dialect]).body)["model"]
    except Refusal as found:
        assert found.status == 400


@pytest.mark.parametrize(
    ("given_", "texts", "token_ids"),
    [
        ("a", 1, False),
        (["a", "b"], 2, False),
        ([1, 2, 3], 1, True),
        ([[1, 2], [3]], 2, True),
    ],
)
def test_inputs_of_embeddings_are_counted(given_: object, texts: int, token_ids: bool) -> None:
    """Text or token ids, one or many."""
    request = embeddings(input=given_)
    assert (request.texts, request.token_ids, request.encoding) == (texts, token_ids, "float")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({}, "input"),
    ],
)
def test_wrong_embeddings_are_refused(fields: dict[str, Any], param: str) -> None:
    """As in chat."""
    with pytest.raises(Refusal) as found:
        parse_embeddings(json.dumps({"model": "m", **fields}).encode(), Policy())
    assert (found.value.status, found.value.param) == (400, param)
