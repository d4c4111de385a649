#!/usr/bin/env python3
"""heldout.py - the demo's held-out questions, asked through bridge, container and plugin: 95 % right of each kind.

The questions are in demo/heldout.jsonl and in no training text; demo/README.md says how they were made.
Eight are asked at a time, so the engine answers them in common batches, base and adapters side by side.
"""
import collections
import concurrent.futures
import json
import os
import random
import sys
import urllib.request

URL = "http://127.0.0.1:%s/generate" % os.environ.get("AIRLOCK_PORT", "8000")
AT_ONCE = 8  # max_concurrent_per_adapter of demo/model_config.json
LEAST = 0.95  # share of right answers that each kind must reach


def ask(case):
    body = {"model": "Phi4MiniInstruct", "container_name": os.environ.get("AIRLOCK_NAME", "phi"),
            "messages": case["messages"], "parameters": {"do_sample": False, "max_new_tokens": 96}}
    if case.get("adapter"):
        body["adapter"] = case["adapter"]
    request = urllib.request.Request(URL, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


def main():
    with open("demo/heldout.jsonl", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    random.Random(1).shuffle(cases)  # neighbours of one kind would share an adapter
    right, total = collections.Counter(), collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for case, got in zip(cases, pool.map(ask, cases)):
            total[case["kind"]] += 1
            if got == case["answer"]:
                right[case["kind"]] += 1
            else:
                print("# %s: %r -> %r instead of %r" %
                      (case["kind"], case["messages"][-1]["content"], got, case["answer"]))
    bad = not total
    for kind in sorted(total):
        share = right[kind] / total[kind]
        bad = bad or share < LEAST
        print("# %s: %d of %d right (%.1f %%)%s" % (kind, right[kind], total[kind], 100 * share,
                                                   "" if share >= LEAST else ", too few"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
