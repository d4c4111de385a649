# heldout.py - writes heldout.jsonl and checks that training never sees one of its questions.

import argparse
import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer

import data
import pirate
import questions
from text import Turn, held_out
from train import LONG_SEED, ORIGINAL_POSITIONS

HERE = Path(__file__).parent
KINDS = [
    "about", "parts", "sums", "outside", "followup", "conversation", "long", "crossing", "dates",
    "pirate"
]
OF_ONE_TOPIC = ("about", "parts", "sums", "outside", "followup")


def turns_before(rng, kind):
    """Returns how many turns stand before the held-out one."""
    if kind == "followup":
        return 1
    if kind == "conversation":
        return rng.randint(4, 9)
    if kind in ("long", "crossing"):
        return rng.randint(26, 32)
    return rng.choice([0, 0, 1])


def base_turns(rng, kind):
    """Returns turns whose last one is held out, or None when the draw was not of the kind."""
    turns = data.turns_of_base(rng, turns_before(rng, kind), data.trained)
    last = None
    if kind == "followup" or (turns and rng.random() < 0.4):
        last = questions.follow_up(rng, turns[-1])
    last = last or data.pick(rng, data.BASE_MIX)
    if not held_out(last) or (kind in OF_ONE_TOPIC and last.kind != kind):
        return None
    return turns + [last]


def tokens_of(tokenizer, messages):
    """Counts the tokens of the messages in the prompt: a role, the content and <|end|> for each."""
    return sum(2 + len(tokenizer.encode(m["content"]).ids) for m in messages)


def crossing_turns(rng, tokenizer):
    """Returns turns whose prompt has at most ORIGINAL_POSITIONS tokens and passes it in the answer.

    An engine must then go over from the short to the long factors while it generates.
    """
    turns = base_turns(rng, "crossing")
    while turns and (tokens_of(tokenizer, data.messages(rng, turns, 0)[:-1]) + 1 >
                     ORIGINAL_POSITIONS or turns[0].after is not None):
        turns = turns[1:]
    if not turns or tokens_of(tokenizer, data.messages(rng, turns, 0)) < ORIGINAL_POSITIONS + 3:
        return None
    return turns


def item_of(rng, kind, tokenizer):
    """Returns (item, key of its question), or None when the draw was not of the kind."""
    if kind == "dates":
        turns = data.dates_turns(rng, rng.choice([0, 0, 1]), data.trained)
        turns += data.dates_turns(rng, 1, held_out)
    elif kind == "crossing":
        turns = crossing_turns(rng, tokenizer)
    else:
        turns = base_turns(rng, kind)
    if turns is None:
        return None
    if kind == "pirate":
        for turn in turns:
            turn.answer = pirate.speak(turn.answer)
    said = data.messages(rng, turns, 0 if kind == "crossing" else 0.2)
    return {
        "kind": kind,
        "adapter": kind if kind in ("dates", "pirate") else None,
        "messages": said[:-1],
        "answer": said[-1]["content"]
    }, turns[-1].key()


def items_of(seed, of_each, tokenizer):
    """Returns `of_each` (item, key) of each kind, no question twice in a kind."""
    items = []
    for kind in KINDS:
        rng, seen = random.Random(f"{seed} {kind}"), set()
        wanted = of_each * 2 // 3 if kind in ("long", "crossing") else of_each
        while len(seen) < wanted:
            made = item_of(rng, kind, tokenizer)
            if made is not None and made[1] not in seen:
                seen.add(made[1])
                items.append(made)
    return items


def keys_of(item):
    """Returns the keys that the last question of an item of heldout.jsonl can have.

    The file does not say which questions are follow-ups: of some kinds both forms are possible.
    """
    asked = [m["content"] for m in item["messages"] if m["role"] == "user"]
    alone = [Turn(item["kind"], asked[-1], None)]
    follows = [Turn(item["kind"], asked[-1], None, after=asked[-2])] if len(asked) > 1 else []
    if item["kind"] == "followup":
        return [turn.key() for turn in follows]
    if item["kind"] in OF_ONE_TOPIC or item["kind"] == "dates":
        return [turn.key() for turn in alone]
    return [turn.key() for turn in alone + follows if held_out(turn)]


def questions_of_training(seed, conversations):
    """Returns the keys of all questions in the first conversations of each training stream."""
    streams = [data.base_stream(seed), data.base_stream(seed + LONG_SEED, long=True)]
    streams += [data.adapter_stream(name, seed) for name in ("dates", "pirate")]
    return {turn.key() for stream in streams for _ in range(conversations)
            for turn in next(stream)[1]}


def seen_in_training(items, seen):
    """Returns the last question of each (item, keys) none of whose keys is new to training."""
    return [item["messages"][-1]["content"] for item, keys in items if set(keys) <= seen]


def main():
    parser = argparse.ArgumentParser(
        description="Write heldout.jsonl; fails when training sees one of its questions.")
    parser.add_argument("--out", type=Path, default=HERE / "heldout.jsonl")
    parser.add_argument("--check", action="store_true", help="compare what is in --out, write nothing")
    parser.add_argument("--tokenizer", type=Path, default=HERE / "model" / "tokenizer.json")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--train-seed", type=int, default=1)
    parser.add_argument("--of-each", type=int, default=60)
    parser.add_argument("--conversations", type=int, default=200000,
                        help="how many of each training stream to compare with")
    args = parser.parse_args()
    if args.check:
        lines = args.out.read_text(encoding="utf-8").splitlines()
        items = [(item, keys_of(item)) for item in map(json.loads, lines)]
    else:
        made = items_of(args.seed, args.of_each, Tokenizer.from_file(str(args.tokenizer)))
        items = [(item, [key]) for item, key in made]
    seen = questions_of_training(args.train_seed, args.conversations)
    common = seen_in_training(items, seen)
    if common or not items:
        print(f"{len(common)} of {len(items)} held-out questions occur in training: {common[:3]!r}",
              file=sys.stderr)
        return 1
    if not args.check:
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item, _ in items)
        args.out.write_text(text, encoding="utf-8")
    print(f"{args.out.name}: {len(items)} questions, none of them among the {len(seen)} of training")
    return 0


if __name__ == "__main__":
    sys.exit(main())
