"""litellm_package.py - litellm against the bridge: an answer, a stream, a tool call."""
import json
import os

import litellm

COMMON = {"model": "openai/demo", "api_base": "http://127.0.0.1:%s/v1" % os.environ["AIRLOCK_PORT"], "api_key": "none",
          "messages": [{"role": "user", "content": "how are you?"}], "max_tokens": 48}
answer = litellm.completion(**COMMON)
text = answer.choices[0].message.content
assert "well" in text, answer
assert answer.usage.total_tokens > 5
for attempt in range(20):  # a busy machine may join the few words of one answer
    pieces = [c.choices[0].delta.content or "" for c in litellm.completion(stream=True, **COMMON)]
    assert "".join(pieces) == text, pieces
    if len(pieces) > 3:
        break
else:
    raise AssertionError(pieces)
tool = {"type": "function", "function": {"name": "add", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["a"],
    "additionalProperties": False}}}
called = litellm.completion(tools=[tool], tool_choice="required", **COMMON).choices[0].message.tool_calls[0]
assert called.function.name == "add" and 0 <= json.loads(called.function.arguments)["a"] <= 99, called
print("# litellm: ok")
