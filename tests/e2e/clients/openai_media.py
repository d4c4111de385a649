"""openai_media.py - the openai Python package against the bridge: recordings transcribed, pictures and sounds in chats, errors."""
import base64
import os
import pathlib

import openai

MODEL = os.environ.get("AIRLOCK_MEDIA_MODEL", "mm")
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "golden"
SOUND = GOLDEN / "audio" / "wav16k_s16.wav"
PICTURE = GOLDEN / "images" / "rgb.png"
QUESTION = "Transcribe the audio clip into text."
client = openai.OpenAI(base_url=os.environ["AIRLOCK_URL"] + "/v1", api_key="none", max_retries=0)


def b64(path):
    return base64.b64encode(path.read_bytes()).decode()


def sound(path=SOUND, form="wav"):
    return {"type": "input_audio", "input_audio": {"data": b64(path), "format": form}}


def picture():
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + b64(PICTURE)}}


def chat(*parts, **more):
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}],
                                          max_completion_tokens=8, **more)


def transcribe(file=None, **more):
    with open(file or SOUND, "rb") as f:
        return client.audio.transcriptions.create(model=MODEL, file=f, **more)


def refused(status, call, param):
    try:
        call()
    except openai.APIStatusError as e:
        assert e.status_code == status and e.param == param, (e.status_code, e.body)
        return e
    raise AssertionError("it was not refused")


def transcription():
    answer = transcribe()
    assert answer.text and answer.text == answer.text.strip(), answer
    assert answer.usage.type == "tokens" and answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.usage.input_tokens == chat(sound(), QUESTION).usage.prompt_tokens
    assert transcribe(response_format="text").strip() == answer.text
    assert transcribe(temperature=0).text == answer.text


def what_is_said_to_the_model():
    plain = transcribe().usage.input_tokens
    assert transcribe(language="de", prompt="Vienna").usage.input_tokens > plain
    other = transcribe(GOLDEN / "audio" / "flac44100.flac")
    assert other.usage.input_tokens > 0 and transcribe(GOLDEN / "audio" / "mp3_44100.mp3").usage


def stream():
    whole = transcribe()
    events = list(transcribe(stream=True))
    assert [e.type for e in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1), events
    assert events[-1].type == "transcript.text.done" and events[-1].text == whole.text
    assert "".join(e.delta for e in events[:-1]).strip() == whole.text
    assert events[-1].usage.output_tokens == whole.usage.output_tokens


def logprobs():
    answer = transcribe(include=["logprobs"])
    assert answer.text and all(p.logprob <= 0 and p.bytes is not None for p in answer.logprobs)


def errors():
    refused(400, lambda: transcribe(response_format="verbose_json"), "response_format")
    refused(400, lambda: transcribe(extra_body={"hotwords": "x"}), "hotwords")
    refused(400, lambda: transcribe(PICTURE), None)
    refused(404, lambda: client.audio.transcriptions.create(model="nobody", file=b"RIFF"), "model")
    refused(400, lambda: chat({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}),
            "messages[0].content[0].image_url.url")


def chats():
    for parts in ((picture(), "what is it"), (sound(), "what was said"), (picture(), picture(), sound(), "compare")):
        answer = chat(*parts)
        assert answer.choices[0].message.content is not None and answer.usage.completion_tokens > 0, answer
        chunks = list(chat(*parts, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.choices[0].message.content
    assert chat(sound(GOLDEN / "audio" / "flac44100.flac", "flac"), "x").usage


for test in (transcription, what_is_said_to_the_model, stream, logprobs, errors, chats):
    test()
    print("ok openai media", test.__name__)
