"""What a publication lays over a request: its template, its profile."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from dialects_recorded import OLLAMA_TARGET, OPENAI_TARGET
from hypothesis import given
from hypothesis import strategies as st

from flm.dialects.chat_parsing import parse_chat
from flm.dialects.engine import CODECS
from flm.dialects.openai_chat import ChatParams, ChatRequest
from flm.dialects.openai_completions import CompletionRequest, parse_completions
from flm.dialects.shaping import shaped, shaped_completion
from flm.domain.parameters import PARAMETERS
from flm.domain.policy import Policy
from flm.domain.prompts import filled, pieces
from flm.domain.publications import Profile
from flm.errors import Refusal
from flm.wire.snapshot import Published

NOW = 1_767_225_599.0
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}


def request(**fields: Any) -> ChatRequest:
    """A chat request as a client sends it."""
    body = {"model": "api", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse_chat(json.dumps(body).encode(), Policy())


def template(system: str = "", user: str = "", **variables: str) -> Published:
    """A publication with that template."""
    return Published(
        name="api",
        models=("m",),
        template="t@1",
        system=filled(pieces(system), variables),
        user=filled(pieces(user), variables),
    )


def profile(**sections: Any) -> Published:
    """A publication with that profile."""
    return Published(name="api", models=("m",), profile=Profile(name="p", **sections))


def messages(chat: ChatRequest) -> Any:
    """What engines read; it must say what is judged."""
    raw = json.loads(bytes(chat.fields["messages"]))
    judged = [{"role": each.role, "content": each.content} for each in chat.params.messages]
    same = [{"role": each["role"], "content": each.get("content")} for each in raw]
    assert json.loads(msgspec.json.encode(judged)) == same
    return raw


def fields(chat: ChatRequest) -> dict[str, Any]:
    """The parameters an engine of OpenAI's dialect reads; `params` must say the same."""
    raw = {name: json.loads(bytes(value)) for name, value in chat.fields.items()}
    del raw["model"], raw["messages"]
    known = {name: value for name, value in raw.items() if name in ChatParams.__struct_fields__}
    assert {name: getattr(chat.params, name) for name in known} == known
    return raw


def test_a_template_without_a_clients_system_text_becomes_the_first_message() -> None:
    """And its user text goes around the client's."""
    chat = shaped(request(), template("Be {{how}}.", "Q: {{input}}?", how="brief"), NOW)
    assert messages(chat) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q: hi?"},
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_clients_system_text_comes_behind_the_templates(role: str) -> None:
    """In one message: many models' templates refuse two."""
    sent = [{"role": role, "content": "短く", "name": "n"}, {"role": "user", "content": "hi"}]
    chat = shaped(request(messages=sent), template("Be kind."), NOW)
    assert messages(chat) == [
        {"role": role, "content": "Be kind.\n\n短く", "name": "n"},
        {"role": "user", "content": "hi"},
    ]


def test_only_the_last_user_message_is_framed() -> None:
    """Also when an answer of a tool came behind it."""
    sent = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        {"role": "tool", "tool_call_id": "c", "content": "t"},
    ]
    chat = shaped(request(messages=sent), template(user="<{{input}}>"), NOW)
    assert messages(chat) == [*sent[:2], {"role": "user", "content": "<two>"}, *sent[3:]]


def test_without_a_user_message_nothing_is_framed() -> None:
    """There is nothing to lay the text around."""
    sent = [{"role": "assistant", "content": "go on"}]
    assert messages(shaped(request(messages=sent), template(user="<{{input}}>"), NOW)) == sent


def test_parts_are_framed_and_pictures_stay_in_their_places() -> None:
    """The first text gets what comes before, the last what comes behind."""
    sent = [
        PICTURE,
        {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
        PICTURE,
        {"type": "text", "text": "that"},
    ]
    chat = shaped(
        request(messages=[{"role": "user", "content": sent}]), template(user="A {{input}} B"), NOW
    )
    assert messages(chat)[0]["content"] == [
        PICTURE,
        {"type": "text", "text": "A see", "cache_control": {"type": "ephemeral"}},
        PICTURE,
        {"type": "text", "text": "that B"},
    ]
    assert chat.images is True


def test_a_picture_alone_gets_texts_beside_it() -> None:
    """The template is not lost."""
    sent = [{"role": "user", "content": [PICTURE]}]
    chat = shaped(request(messages=sent), template(user="A {{input}} B"), NOW)
    assert messages(chat)[0]["content"] == [
        {"type": "text", "text": "A "},
        PICTURE,
        {"type": "text", "text": " B"},
    ]


def test_nothing_that_was_put_in_is_read_as_a_variable() -> None:
    """Neither a client's text nor a variable's value."""
    published = template("{{who}} {{date}}", "{{who}}: {{input}}", who="{{input}}{{date}}")
    chat = shaped(
        request(messages=[{"role": "user", "content": "{{who}} {{input}}"}]), published, NOW
    )
    assert messages(chat) == [
        {"role": "system", "content": "{{input}}{{date}} 2025-12-31"},
        {"role": "user", "content": "{{input}}{{date}}: {{who}} {{input}}"},
    ]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_any_text_of_a_client_arrives_as_it_is(text: str) -> None:
    """Whatever is in it, as a string and as a part."""
    published = template("s", '"\\\n{{input}}終')
    for content in (text, [{"type": "text", "text": text}]):
        chat = shaped(request(messages=[{"role": "user", "content": content}]), published, NOW)
        got = messages(chat)[1]["content"]
        assert got in ('"\\\n' + text + "終", [{"type": "text", "text": '"\\\n' + text + "終"}])


def test_defaults_stand_where_the_client_said_nothing() -> None:
    """Null is nothing; zero is something."""
    published = profile(defaults={"temperature": 0.2, "top_p": 0.5, "stop": ["a"], "seed": 7})
    chat = shaped(request(temperature=0, top_p=None), published, NOW)
    assert fields(chat) == {"temperature": 0, "top_p": 0.5, "stop": ["a"], "seed": 7}
    assert chat.dropped == ()


def test_two_names_of_the_longest_answer_are_one_parameter() -> None:
    """A default for one does not stand beside the other."""
    published = profile(defaults={"max_tokens": 512})
    assert fields(shaped(request(max_completion_tokens=9), published, NOW)) == {
        "max_completion_tokens": 9
    }
    assert fields(shaped(request(), published, NOW)) == {"max_tokens": 512}


def test_what_is_above_a_cap_is_lowered_and_named() -> None:
    """What is not, stays."""
    caps = {"temperature": 1.0, "max_tokens": 2048.0, "n": 1.0, "top_p": 0.9}
    chat = shaped(
        request(temperature=1.5, max_tokens=9000, max_completion_tokens=100, n=3, top_p=0.5),
        profile(caps=caps),
        NOW,
    )
    assert fields(chat) == {
        "temperature": 1.0, "max_tokens": 2048, "max_completion_tokens": 100, "n": 1, "top_p": 0.5,
    }  # fmt: skip
    assert bytes(chat.fields["max_tokens"]) == b"2048"
    assert chat.dropped == ("temperature(capped)", "max_tokens(capped)", "n(capped)")


def test_an_answer_without_a_limit_gets_the_cap_and_nothing_else_does() -> None:
    """A temperature nobody asked for is the model's own."""
    chat = shaped(request(), profile(caps={"max_tokens": 64, "temperature": 1}), NOW)
    assert (fields(chat), chat.dropped) == ({"max_tokens": 64}, ())
    both = profile(defaults={"max_tokens": 32}, caps={"max_tokens": 64})
    assert fields(shaped(request(), both, NOW)) == {"max_tokens": 32}


def test_a_cap_is_not_got_around_by_another_name() -> None:
    """llama.cpp reads `n_predict` before `max_tokens`; a valid one counts, -1 is without end."""
    caps = profile(caps={"max_tokens": 64, "temperature": 1, "n": 2})
    chat = shaped(request(n_predict=50), caps, NOW)
    assert (fields(chat), chat.dropped) == ({"max_tokens": 50}, ())
    chat = shaped(request(n_predict=-1, max_new_tokens=100, dynatemp_range=2, best_of=9), caps, NOW)
    assert fields(chat) == {"max_tokens": 64}
    assert set(chat.dropped) == {"n_predict", "max_tokens(capped)", "dynatemp_range", "best_of"}


def test_ollamas_own_options_are_held_to_the_same() -> None:
    """They count as what the client said, and the rest of them stays."""
    published = profile(
        defaults={"seed": 1, "top_p": 0.1}, caps={"temperature": 1, "max_tokens": 8}
    )
    sent = {"temperature": 2, "num_predict": -1, "top_k": 5, "seed": 9, "top_p": None}
    chat = shaped(request(options=sent), published, NOW)
    assert fields(chat) == {
        "temperature": 1.0, "max_tokens": 8, "seed": 9, "top_p": 0.1, "options": {"top_k": 5},
    }  # fmt: skip
    assert set(chat.dropped) == {"temperature(capped)", "options.num_predict"}


@pytest.mark.parametrize("sent", [3, None, ["a"]])
def test_options_that_are_none_are_left_to_the_engines_dialect(sent: object) -> None:
    """It says what is wrong with them."""
    chat = shaped(request(options=sent), profile(caps={"temperature": 1}), NOW)
    assert fields(chat) == {"options": sent}


def test_the_engines_options_reach_ollama_over_all_others() -> None:
    """Over the target's, over the client's; engines of OpenAI's dialect get none."""
    published = profile(options={"num_ctx": 16384, "keep_alive": "30m", "top_k": 7})
    chat = shaped(request(keep_alive="1h", top_k=3, options={"num_ctx": 5}), published, NOW)
    target = msgspec.structs.replace(OLLAMA_TARGET, num_ctx=4096)
    body = json.loads(CODECS["ollama"].chat(chat, target).body)
    assert body["options"] == {"num_ctx": 16384, "top_k": 7}
    assert body["keep_alive"] == "30m"
    assert b"16384" not in CODECS["openai"].chat(chat, OPENAI_TARGET).body


def test_a_client_cannot_set_the_engines_options() -> None:
    """The field is the profile's alone."""
    assert request(options={"num_ctx": 5}).options == {}


def test_the_request_before_stays_as_it_was() -> None:
    """Another engine may be asked with it, or another publication lie over it."""
    chat = request(temperature=2)
    before = msgspec.json.encode(chat.params), dict(chat.fields)
    shaped(
        chat,
        msgspec.structs.replace(
            template("s", "u {{input}}"), profile=Profile(name="p", caps={"temperature": 1})
        ),
        NOW,
    )
    assert (msgspec.json.encode(chat.params), chat.fields) == before


EDGES = [
    (name, value)
    for name, of in PARAMETERS.items()
    for value in ((of.minimum, of.maximum) if of.is_number else of.choices)
]


@pytest.mark.parametrize(("name", "value"), EDGES)
def test_a_profile_takes_what_requests_may_have(name: str, value: Any) -> None:
    """The ends of each range are right values of a request."""
    assert fields(request(**{name: PARAMETERS[name].check(value)})) == {name: value}


def completion(**fields: object) -> CompletionRequest:
    """A text completion as a client sends it."""
    body = msgspec.json.encode({"model": "api", "prompt": "once", **fields})
    return parse_completions(body, Policy())


def test_a_profile_holds_for_text_completions_too() -> None:
    """Its defaults, and its caps whatever name the client used."""
    profile = Profile(name="p", defaults={"temperature": 0.5}, caps={"max_tokens": 20})
    published = Published(name="api", models=("m",), profile=profile)
    plain = shaped_completion(completion(), published)
    assert (plain.params.temperature, plain.params.max_tokens) == (0.5, 20)
    greedy = shaped_completion(completion(max_tokens=900, best_of=3), published)
    assert bytes(greedy.fields["max_tokens"]) == b"20"
    assert "max_tokens(capped)" in greedy.dropped
    sly = shaped_completion(completion(n_predict=900), published)
    assert sly.params.max_tokens == 20
    assert "n_predict" not in sly.fields


def test_a_template_takes_no_text_completion() -> None:
    """There is no message it could be laid around."""
    published = Published(name="api", models=("m",), system=("Be kind.",))
    with pytest.raises(Refusal) as found:
        shaped_completion(completion(), published)
    assert (found.value.status, found.value.code) == (400, "unsupported_operation")
