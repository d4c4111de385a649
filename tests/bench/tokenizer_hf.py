#!/usr/bin/env python3
# tokenizer_hf.py - what bench_tokenizer measures, with Hugging Face tokenizers on one thread; also writes the texts.
#
# Usage: tokenizer_hf.py MODEL-FOLDER TEXT-FILE...
#        tokenizer_hf.py --make-texts FOLDER     code.txt, prose.txt and languages.txt of some MB each
import os
import random
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
HERE = os.path.dirname(os.path.abspath(__file__))
REPEATS = 5
SIZE = 4_000_000


def repository_text(endings):
    top = os.path.join(HERE, "..", "..")
    texts = []
    for folder, folders, files in sorted(os.walk(top)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(files):
            if name.endswith(endings) and name != "unicode_classes.h":
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    texts.append(file.read())
    text = "".join(texts)
    return text * (SIZE // len(text) + 1)


def make_texts(folder):
    sys.path.insert(0, os.path.join(HERE, "..", "oracle"))
    from tokenizer_golden import TRAINING
    rng = random.Random(1)
    lines = [line.split(" ") for line in TRAINING.split("\n") if line]
    words = repository_text((".md", ".h")).split(" ")
    prose = " ".join(rng.choice(words) for _ in range(SIZE // 6))
    languages = "\n".join(" ".join(rng.sample(line, len(line))) for line in
                          (rng.choice(lines) for _ in range(SIZE // 90)))
    for name, text in (("code", repository_text((".c", ".h"))), ("prose", prose),
                       ("languages", languages)):
        with open(os.path.join(folder, name + ".txt"), "w", encoding="utf-8") as out:
            out.write(text[:SIZE])


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--make-texts":
        make_texts(sys.argv[2])
        return
    from tokenizers import Tokenizer
    start = time.perf_counter()
    tokenizer = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
    print(f"open: {time.perf_counter() - start:.3f} s")
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        size, best, ids = len(text.encode()), 1e9, 0
        for _ in range(REPEATS):
            start = time.perf_counter()
            encoding = tokenizer.encode(text, add_special_tokens=False)
            best = min(best, time.perf_counter() - start)
            ids = len(encoding.ids)
        print(f"{path}: {size} bytes, {ids} ids, {best:.4f} s, {size / best / 1e6:.1f} MB/s")


if __name__ == "__main__":
    main()
