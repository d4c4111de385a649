# text.py - what the text generators share: a turn, its key, the held-out rule and ways of typing.

import re
import zlib

HELD_OUT_SHARE = 12  # one question in this many is never seen in training

ROLES = ("system", "user", "assistant")


def normalise(text):
    """The form in which two questions count as the same: no case, no punctuation, single blanks."""
    text = re.sub(r"[?!.,;'\"]", "", text.lower())
    return re.sub(r"\s+", " ", text).strip()


class Turn:
    """One question and its answer. `after` is the question a follow-up refers to, or None."""

    def __init__(self, kind, question, answer, after=None, state=None):
        self.kind = kind
        self.question = question
        self.answer = answer
        self.after = after
        self.state = state

    def key(self):
        own = normalise(self.question)
        return own if self.after is None else normalise(self.after) + " | " + own


# Questions that the documentation shows must be ones the model has met.
ALWAYS_TRAINED = {
    "how are you", "hello", "hi", "who are you", "where are you", "what can you do",
    "what is airlock", "what is 7 + 5", "what does the bridge do", "next friday at noon",
    "thank you", "goodbye",
}


def held_out(turn):
    """True when the question belongs to the held-out part; decided by its text alone."""
    key = turn.key()
    if key in ALWAYS_TRAINED:
        return False
    return zlib.crc32(key.encode("utf-8")) % HELD_OUT_SHARE == 0


def dress(rng, text, question=True):
    """Writes a question as people type: any case, any final punctuation."""
    roll = rng.random()
    if roll < 0.40:
        text = text[0].upper() + text[1:]
    elif roll < 0.46:
        text = text.upper()
    elif roll < 0.80:
        text = text.lower()
    end = rng.random()
    if question:
        bounds = [(0.62, "?"), (0.88, ""), (0.91, "."), (0.94, " ?"), (0.97, "??"), (1.0, "?!")]
    else:
        bounds = [(0.45, ""), (0.75, "."), (0.95, "!"), (1.0, "...")]
    if rng.random() < 0.03:  # blanks around it, as programs leave them
        text, bounds = rng.choice(["", " "]) + text, [(0.4, "?\n"), (0.7, "\n"), (1.0, " ")]
    return text + next(mark for bound, mark in bounds if end < bound)


def mistype(rng, text):
    """Returns the text with one slip of the fingers in one of its longer words, if it has any."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not long:
        return text
    i = rng.choice(long)
    word, at = words[i], rng.randint(1, len(words[i]) - 2)
    words[i] = rng.choice([
        word[:at] + word[at + 1:], word[:at] + word[at + 1] + word[at] + word[at + 2:],
        word[:at] + word[at] + word[at:]
    ])
    return " ".join(words)
