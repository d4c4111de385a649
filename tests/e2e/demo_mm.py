#!/usr/bin/env python3
"""demo_mm.py - held-out pictures and recordings, asked through bridge, container and plugin.

demo-mm/heldout.py draws them here, with Python's standard library; demo-mm/README.md says what training never saw.
Negative control: with another's picture most answers are wrong, so it is the picture that is answered.
"""
import concurrent.futures
import json
import os
import sys
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, "demo-mm")
import heldout  # noqa: E402

URL = "http://127.0.0.1:%s/generate" % os.environ.get("AIRLOCK_PORT", "8000")
NAME = os.environ.get("AIRLOCK_NAME", "phi")
SEED = int(os.environ.get("AIRLOCK_SEED", "100"))
OF_EACH = int(os.environ.get("AIRLOCK_OF_EACH", "100"))
AT_ONCE = 4
LEAST = 0.95  # share of right answers that each kind must reach (demo-mm/README.md)


def ask(item):
    body = heldout.request(item, "Phi4MultimodalInstruct", NAME)
    request = urllib.request.Request(URL, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.read().decode()


def misled(items):
    """Asks about pictures, each question with the next one's picture; returns (answers that stay right, questions)."""
    seen = [item for item in items if item["kind"] == "picture"][:20]
    moved = [dict(item, images=other["images"]) for item, other in zip(seen, seen[1:] + seen[:1])]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(got == item["answer"] for item, got in zip(seen, pool.map(ask, moved))), len(seen)


def main():
    items = list(heldout.items(SEED, OF_EACH))
    tally = heldout.Tally(LEAST, len(items), "# ")
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for item, got in zip(items, pool.map(ask, items)):
            tally.add(item, got)
    enough = tally.enough()
    same, asked = misled(items)
    print("# with another's picture: %d of %d answers stay right" % (same, asked))
    return 0 if enough and same <= asked // 2 else 1


if __name__ == "__main__":
    sys.exit(main())
