# data.py - puts questions together to conversations: the endless streams of training text.

import random

import dates
import pirate
import questions
from text import Turn, dress, held_out, mistype

SYSTEM = [
    "You are a helpful assistant.", "You are a helpful AI assistant.",
    "You are a small model in an airlock.", "Answer in one sentence.", "Be brief and friendly.",
    "You are a friendly assistant who knows about Airlock.", "Answer the questions of the user.",
    "You are Phi, a language model. Be polite."
]

BASE_MIX = [(questions.about, 15), (questions.small_talk, 6), (questions.parts, 28),
            (questions.sums, 32), (questions.outside, 23)]
MISTYPED = 0.04  # share of questions with a slip of the fingers, in training only


def pick(rng, mix):
    return rng.choices([m[0] for m in mix], [m[1] for m in mix])[0](rng)


def turns_of_base(rng, wanted, allowed, follow=0.35):
    """Returns `wanted` turns that satisfy `allowed`; a follow-up refers to the turn before it."""
    turns = []
    while len(turns) < wanted:
        turn = questions.follow_up(rng, turns[-1]) if turns and rng.random() < follow else None
        if turn is None:
            turn = pick(rng, BASE_MIX)
        if allowed(turn):
            turns.append(turn)
    return turns


def trained(turn):
    return not held_out(turn)


def dates_turn(rng):
    text, expression = dates.phrase(rng)
    if rng.random() < 0.2:
        text = rng.choice(["let's meet ", "remind me ", "the meeting is ", "see you "]) + text
    return Turn("dates", dress(rng, text, rng.random() < 0.3), expression)


def dates_turns(rng, wanted, allowed):
    turns = []
    while len(turns) < wanted:
        turn = dates_turn(rng)
        if allowed(turn):
            turns.append(turn)
    return turns


def pirate_turns(rng, wanted, allowed):
    turns = turns_of_base(rng, wanted, allowed)
    for turn in turns:
        turn.answer = pirate.speak(turn.answer)
    return turns


def dsl(rng):
    return dates.phrase(rng)[1]


def pirate_words(rng):
    return pirate.speak(pick(rng, BASE_MIX).answer)


def english_date(rng):
    return dates.phrase(rng)[0]


def messages(rng, turns, system=0.2):
    """Returns the conversation as chat messages."""
    said = [{"role": "system", "content": rng.choice(SYSTEM)}] if rng.random() < system else []
    for turn in turns:
        said += [{
            "role": "user",
            "content": turn.question
        }, {
            "role": "assistant",
            "content": turn.answer
        }]
    return said


def conversation_length(rng, roll, long):
    """Returns a number of turns; the longest pass 512 tokens and so train the long factors.

    With `long` one conversation in six has 200 to 800 tokens: more than half of all text.
    """
    if long:
        if roll < 0.54:
            return rng.randint(1, 2)
        if roll < 0.84:
            return rng.randint(3, 8)
        return rng.randint(13, 34)
    if roll < 0.36:
        return 1
    if roll < 0.66:
        return 2
    if roll < 0.95:
        return rng.randint(3, 5)
    return rng.randint(6, 10) if roll < 0.98 else rng.randint(11, 34)


def base_stream(seed, long=False):
    """Endless training conversations of the base model, with the turns that are in them."""
    rng = random.Random(seed)
    while True:
        roll = rng.random()
        if roll < 0.04:
            turns = [questions.echo(rng, [dsl, pirate_words, english_date])]
        else:
            wanted = conversation_length(rng, roll, long)
            turns = turns_of_base(rng, wanted, trained)
            for turn in turns:
                if rng.random() < MISTYPED and turn.kind != "outside":
                    turn.question = mistype(rng, turn.question)
        yield messages(rng, turns), turns


def adapter_stream(name, seed):
    """Endless training conversations of an adapter."""
    rng = random.Random(seed)
    make = {"dates": dates_turns, "pirate": pirate_turns}[name]
    while True:
        roll = rng.random()
        turns = make(rng, 1 if roll < 0.5 else 2 if roll < 0.8 else rng.randint(3, 5), trained)
        yield messages(rng, turns), turns


def tokenizer_text(seed, conversations=12000):
    """The text on which the vocabulary is made: everything that the three models read and write."""
    streams = [
        base_stream(seed),
        base_stream(seed + 1),
        adapter_stream("dates", seed),
        adapter_stream("pirate", seed)
    ]
    for _ in range(conversations):
        for stream in streams:
            for message in next(stream)[0][-6:]:
                yield message["content"]
