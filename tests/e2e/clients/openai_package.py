"""openai_package.py - the openai Python package against the bridge: chat, streams, tools, JSON schema, logprobs, models, errors."""
import json
import math
import os
import sys
import time

import openai

MODEL = "demo"
client = openai.OpenAI(base_url="http://127.0.0.1:%s/v1" % os.environ["AIRLOCK_PORT"], api_key="none", max_retries=0)
QUESTION = [{"role": "user", "content": "how are you?"}]
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "maxLength": 12},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"], "additionalProperties": False}}}
PERSON = {"type": "object", "properties": {
    "name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
    "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}},
    "required": ["name", "age", "tags"], "additionalProperties": False}


def ask(**more):
    return client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, "max_completion_tokens": 48, **more})


def chat():
    answer = ask()
    assert answer.object == "chat.completion" and answer.choices[0].finish_reason == "stop", answer
    assert "well" in answer.choices[0].message.content, answer
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.prompt_tokens > 3, usage
    assert ask().choices[0].message.content == answer.choices[0].message.content


def adapter():
    answer = ask(model=MODEL + ":dates", messages=[{"role": "user", "content": "next friday at noon"}])
    assert answer.choices[0].message.content == "NEXT(FRI) AT 12:00", answer


def stream():
    whole = ask().choices[0].message.content
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole, (text, whole)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens > 3 and not chunks[-1].choices
    assert len({c.id for c in chunks}) == 1


def stream_comes_as_it_is_made():
    # Rewards for repeating itself keep the model from its end token: an answer of a second or more.
    start = time.monotonic()
    times = [time.monotonic() - start for c in ask(
        stream=True, messages=[{"role": "user", "content": "the the the the the the"}], temperature=0, frequency_penalty=-2,
        extra_body={"repetition_penalty": 0.7}, max_completion_tokens=1500) if c.choices and c.choices[0].delta.content]
    assert len(times) > 20 and times[0] < times[-1] / 4, times


def hang_up():
    with ask(stream=True, temperature=2, max_completion_tokens=3000) as events:
        next(iter(events))
    chat()


def stop_and_length():
    answer = ask(stop=["well"]).choices[0]
    assert answer.finish_reason == "stop" and "well" not in answer.message.content, answer
    assert ask(max_completion_tokens=2).choices[0].finish_reason == "length"


def seed_and_n():
    sampled = {"temperature": 2, "seed": 7, "n": 3, "messages": [{"role": "user", "content": "tell me a joke about the moon"}]}
    one, two = ask(**sampled), ask(**sampled)
    assert [c.message.content for c in one.choices] == [c.message.content for c in two.choices]
    assert sorted(c.index for c in one.choices) == [0, 1, 2]
    assert len({c.message.content for c in one.choices}) > 1, "three equal samples"
    chunks = list(ask(stream=True, **sampled))
    for choice in one.choices:
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices and c.choices[0].index == choice.index)
        assert text == choice.message.content


def logprobs():
    for choice in (ask(logprobs=True, top_logprobs=5).choices[0],):
        for token in choice.logprobs.content:
            best = token.top_logprobs[0]
            assert best.token == token.token and math.isclose(best.logprob, token.logprob, abs_tol=1e-6)
            assert sum(math.exp(t.logprob) for t in token.top_logprobs) <= 1 + 1e-4
            assert bytes(token.bytes).decode("utf-8", "replace") == token.token or "\ufffd" in token.token
        text = b"".join(bytes(t.bytes) for t in choice.logprobs.content if not t.token.startswith("<|")).decode()
        assert text == choice.message.content, (text, choice.message.content)


def logit_bias():
    first = ask(logprobs=True, max_completion_tokens=1).choices[0].logprobs.content[0]
    ids = client.post("/../tokenize", cast_to=object, body={"model": MODEL, "prompt": first.token})["tokens"]
    other = ask(max_completion_tokens=1, logit_bias={str(ids[0]): -100}).choices[0].message.content
    assert other != first.token, other


def json_schema():
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    for seed in range(8):
        choice = ask(response_format=form, temperature=1.8, seed=seed, max_completion_tokens=200).choices[0]
        person = json.loads(choice.message.content)
        assert set(person) == {"name", "age", "tags"} and 0 <= person["age"] <= 130 and len(person["name"]) <= 8, person
        assert all(t in ("a", "b") for t in person["tags"]) and len(person["tags"]) <= 3, person
    choice = ask(response_format={"type": "json_object"}, temperature=1.5, seed=3, max_completion_tokens=600).choices[0]
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict), choice


def tools():
    for choice_of in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        choice = ask(tools=[WEATHER], tool_choice=choice_of, parallel_tool_calls=False, max_completion_tokens=200).choices[0]
        assert choice.finish_reason == "tool_calls", choice
        call = choice.message.tool_calls[0]
        arguments = json.loads(call.function.arguments)
        assert call.function.name == "get_weather" and arguments["unit"] in ("celsius", "fahrenheit"), call
        follow = QUESTION + [choice.message.model_dump(exclude_none=True),
                             {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
        assert ask(tools=[WEATHER], messages=follow).choices[0].message is not None
    several = ask(tools=[WEATHER], tool_choice="required", max_completion_tokens=200).choices[0].message.tool_calls
    assert len(several) >= 1 and len({call.id for call in several}) == len(several), several
    chunks = list(ask(tools=[WEATHER], tool_choice="required", stream=True, max_completion_tokens=200))
    deltas = [d for c in chunks if c.choices for d in c.choices[0].delta.tool_calls or [] if d.index == 0]
    assert deltas[0].function.name == "get_weather" and deltas[0].id
    json.loads("".join(d.function.arguments or "" for d in deltas))
    assert ask(tools=[WEATHER], tool_choice="none").choices[0].message.tool_calls is None


def completions():
    answer = client.completions.create(model=MODEL, prompt="how are", max_tokens=5, logprobs=2)
    assert answer.choices[0].text and len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens, answer
    pieces = client.completions.create(model=MODEL, prompt="how are", max_tokens=5, stream=True)
    assert "".join(p.choices[0].text for p in pieces if p.choices) == answer.choices[0].text


def prefix_is_cached():
    history = [{"role": "system", "content": "You are inside an airlock. " * 20}] + QUESTION
    ask(messages=history)
    again = ask(messages=history + [{"role": "assistant", "content": "I am well."}, {"role": "user", "content": "who are you?"}])
    assert again.usage.prompt_tokens_details.cached_tokens >= 64, again.usage


def models():
    names = [m.id for m in client.models.list()]
    assert MODEL in names and MODEL + ":dates" in names, names


def errors():
    def refused(kind, **more):
        try:
            ask(**more)
        except kind as error:
            return error
        raise AssertionError("%s was not refused" % more)
    assert refused(openai.NotFoundError, model="nobody").body["message"]
    assert refused(openai.BadRequestError, temperature=9).body["param"] == "temperature"
    assert refused(openai.BadRequestError, extra_body={"colour": 1}).body["param"] == "colour"
    assert refused(openai.BadRequestError, n=9).body["param"] == "n"
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://192.0.2.1/x.png"}}]}]
    assert "messages" in refused(openai.BadRequestError, messages=image).body["param"]
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
    assert "/not" in refused(openai.BadRequestError, response_format=bad).body["message"]


bad = 0
for test in (chat, adapter, stream, stream_comes_as_it_is_made, hang_up, stop_and_length, seed_and_n, logprobs, logit_bias, json_schema, tools, completions,
             prefix_is_cached, models, errors):
    try:
        test()
        print("# openai %s: ok" % test.__name__)
    except Exception as error:  # each is reported, all are run
        bad += 1
        print("not ok: openai %s: %s: %.600s" % (test.__name__, type(error).__name__, error))
sys.exit(bad > 0)
