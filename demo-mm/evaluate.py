# evaluate.py - answers the held-out questions greedily in PyTorch; fails below 95 % of a kind.

import argparse
import sys
import time
from pathlib import Path

import torch

import checkpoint
import heldout
import processor

HERE = Path(__file__).parent
MODES = {(False, False): "language", (True, False): "vision", (False, True): "speech", (True, True): "vision_speech"}
NEW_TOKENS = 64


class Answers:

    def __init__(self, folder):
        self.model, self.encode = checkpoint.load(folder), checkpoint.Encoder(folder)
        self.ends = {self.encode.added["<|end|>"], self.encode.added["<|endoftext|>"]}
        self.known = max(self.encode.added.values()) + 1  # rows past it are padding

    def prompt(self, item):
        """Returns (embeddings [tokens, hidden], mode)."""
        mode, rows = MODES[bool(item["images"]), bool(item["audios"])], []
        images, audios = iter(item["images"]), iter(item["audios"])
        for part in self.encode(item["messages"]):
            if part == "image":
                seen = self.model.vision.features(processor.picture(next(images)))
                rows.append(self.model.vision.assemble(*seen))
            elif part == "audio":
                features = torch.from_numpy(processor.sound(next(audios)))
                rows.append(self.model.sound_rows(self.model.audio.encoder(features[None])[0], mode))
            else:
                rows.append(self.model.model.embed_tokens(torch.tensor(part)))
        return torch.cat(rows), mode

    @torch.no_grad()
    def answer(self, item):
        """Returns (text, [(id, log-probability)] of each token)."""
        return self._answer(*self.prompt(item))

    @torch.no_grad()
    def text(self, item):
        """Returns the text; sooner than answer() when it is the expected one, for then one pass over that shows it."""
        rows, mode = self.prompt(item)
        ids = self.encode.text(item["answer"]) + [self.encode.added["<|end|>"]]
        told = torch.cat([rows, self.model.model.embed_tokens(torch.tensor(ids[:-1]))])
        logits = self.model.logits(self.model.hidden(told[None], mode, len(rows) - 1))[0]
        best = logits[:, :self.known].argmax(-1).tolist()
        return item["answer"] if best == ids else self._answer(rows, mode)[0]

    def _answer(self, rows, mode):
        ids, found = [], []
        while len(ids) < NEW_TOKENS:
            logits = self.model.logits(self.model.hidden(rows[None], mode, len(rows) - 1))[0, 0]
            logp = logits.log_softmax(-1)[:self.known]
            ids.append(int(logp.argmax()))
            found.append((ids[-1], float(logp[ids[-1]])))
            if ids[-1] in self.ends:
                break
            rows = torch.cat([rows, self.model.model.embed_tokens(torch.tensor(ids[-1:]))])
        return self.encode.decode(ids), found


def main():
    parser = argparse.ArgumentParser(description="Measure the multimodal demo model on held-out questions.")
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--of-each", type=int, default=100)
    parser.add_argument("--kinds", nargs="*", default=list(heldout.KINDS), choices=heldout.KINDS)
    parser.add_argument("--least", type=float, default=0.95, help="share of right answers each kind must reach")
    parser.add_argument("--show", type=int, default=20, help="how many wrong answers to print")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    answers, tally, start = Answers(args.model), heldout.Tally(args.least, args.show), time.time()
    for item in heldout.items(args.seed, args.of_each, args.kinds):
        tally.add(item, answers.text(item))
    enough = tally.enough()
    print(f"{time.time() - start:.0f} s")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
