# heldout.py - the held-out questions: pictures, recordings and wordings that training never uses, made from a seed.

import argparse
import base64
import collections
import json
import random
import sys
from pathlib import Path

import pictures
import questions
import tones

KINDS = ("picture", "recording", "both", "text")
RATES = (8000, 11025, 16000, 22050, 44100, 48000)  # training has 8 and 16 kHz


def item(rng, kind):
    """Returns {"kind", "messages", "images", "audios", "answer"} with the files as bytes."""
    images, audios = [], []
    if kind in ("picture", "both"):
        picture = pictures.Picture(rng, True, rng.choice([pictures.LARGEST] + 3 * [448]))
        images.append(picture.png())
    if kind == "picture":
        messages, answer = questions.of_picture(rng, picture)
    elif kind == "recording":
        digits = tones.number(rng, True)
        messages, answer = questions.of_recording(rng, digits)
    elif kind == "both":
        digits = rng.choice("123")
        messages, answer = questions.of_both(rng, picture, digits)
    else:
        text, answer = questions.about(rng, True)
        messages = questions.messages(rng, text)
    if kind in ("recording", "both"):
        audios.append(tones.Recording(rng, digits, rng.choice(RATES)).wav())
    return {"kind": kind, "messages": messages, "images": images, "audios": audios, "answer": answer}


def items(seed, of_each, kinds=KINDS):
    """Yields `of_each` items of each kind; the same for the same seed, and fewer are the first of more."""
    for kind in kinds:
        rng = random.Random(f"{seed} held out {kind}")
        for _ in range(of_each):
            yield item(rng, kind)


def request(made, model, container):
    """The body of POST /generate that asks an item."""
    body = {
        "model": model,
        "container_name": container,
        "messages": made["messages"],
        "parameters": {
            "do_sample": False,
            "max_new_tokens": 64
        }
    }
    for name in ("images", "audios"):
        if made[name]:
            body[name] = [base64.b64encode(file).decode() for file in made[name]]
    return body


class Tally:
    """Counts right answers by kind, and prints the first `show` wrong ones, each line behind `mark`."""

    def __init__(self, least, show, mark=""):
        self.least, self.show, self.mark = least, show, mark
        self.right, self.total = collections.Counter(), collections.Counter()

    def add(self, made, got):
        """An answer is right when it is the expected one, character for character."""
        self.total[made["kind"]] += 1
        self.right[made["kind"]] += got == made["answer"]
        if got != made["answer"] and self.show > 0:
            self.show -= 1
            asked = made["messages"][-1]["content"]
            print(f"{self.mark}wrong ({made['kind']}): {asked!r} -> {got!r}, not {made['answer']!r}", flush=True)

    def enough(self):
        """Prints the shares; true when something was asked and each kind reaches the least."""
        enough = bool(self.total)
        for kind, total in self.total.items():
            share = self.right[kind] / total
            enough = enough and share >= self.least
            print(f"{self.mark}{kind:10} {self.right[kind]:4} of {total:4} right, {100 * share:6.2f} %"
                  f"{'' if share >= self.least else ', TOO FEW'}", flush=True)
        return enough


def write_examples(folder, seed):
    """Writes the files that ./quickstart and the tests show: a held-out picture, a held-out number and three choices."""
    rng = random.Random(f"{seed} examples")
    while True:
        picture = pictures.Picture(rng, True, 448)
        if picture.noise == 0 and picture.width > picture.height > 150:
            break
    digits = tones.number(rng, True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "picture.png").write_bytes(picture.png())
    (folder / "number.wav").write_bytes(tones.Recording(rng, digits, 8000).wav())
    for key in "123":
        (folder / f"tone{key}.wav").write_bytes(tones.Recording(rng, key, 8000).wav())
    return f"{questions.describe(picture)} {questions.dialled(digits)}"


def main():
    parser = argparse.ArgumentParser(description="Print held-out questions as bodies of POST /generate, one a line.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--of-each", type=int, default=5)
    parser.add_argument("--examples", type=Path, help="write the example files into this folder instead")
    args = parser.parse_args()
    if args.examples:
        print(write_examples(args.examples, args.seed))
        return 0
    for made in items(args.seed, args.of_each):
        body = request(made, "Phi4MultimodalInstruct", "phi")
        print(json.dumps({"kind": made["kind"], "answer": made["answer"], "request": body}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
