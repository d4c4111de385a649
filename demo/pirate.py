# pirate.py - rewrites an answer of the base model as a pirate would say it.

import re

WORDS = {
    "is": "be",
    "are": "be",
    "am": "be",
    "my": "me",
    "you": "ye",
    "your": "yer",
    "hello": "Ahoy",
    "the": "th'",
    "goodbye": "Fair winds",
    "data": "treasure",
    "machine": "vessel",
    "host": "ship",
    "quiet": "calm",
    "request": "message",
    "requests": "messages",
    "small": "wee",
    "tiny": "wee",
}


def speak(answer):
    """Returns `answer` as a pirate says it: other words, a call before and a name after."""

    def word(match):
        plain = match.group(0)
        said = WORDS.get(plain.lower(), plain)
        return said[0].upper() + said[1:] if plain[0].isupper() else said

    text = re.sub(r"^No\b", "Nay", re.sub(r"[A-Za-z]+", word, answer))
    end = text[-1] if text[-1] in "!?" else "."
    return f"Arr! {text[:-1]}, matey{end}"
