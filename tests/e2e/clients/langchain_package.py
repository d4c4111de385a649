"""langchain_package.py - langchain-openai against the bridge: an answer, a stream, structured output, a bound tool."""
import os

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

model = ChatOpenAI(model="demo", base_url="http://127.0.0.1:%s/v1" % os.environ["AIRLOCK_PORT"], api_key="none",
                   max_retries=0, max_tokens=100)
text = model.invoke("how are you?").content
assert "well" in text, text
assert "".join(chunk.content for chunk in model.stream("how are you?")) == text


class Sum(BaseModel):
    """A sum of two small numbers."""
    a: int = Field(ge=0, le=99)
    b: int = Field(ge=0, le=99)


answer = model.with_structured_output(Sum, method="json_schema").invoke("what is 3 + 4?")
assert isinstance(answer, Sum), answer


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


calls = model.bind_tools([add], tool_choice="any").invoke("what is 3 + 4?").tool_calls
assert calls and calls[0]["name"] == "add" and isinstance(calls[0]["args"]["a"], int), calls
print("# langchain-openai: ok")
