#!/usr/bin/env python3
"""heldout.py - the demo's held-out questions, asked through bridge, container and plugin: 95 % right of each kind.

The questions are in demo/heldout.jsonl and in no training text; demo/README.md says how they were made.
"""
import collections
import json
import os
import sys
import urllib.request

URL = "http://127.0.0.1:%s/generate" % os.environ.get("AIRLOCK_PORT", "8000")


def ask(case):
    body = {"model": "Phi4MiniInstruct", "container_name": os.environ.get("AIRLOCK_NAME", "phi"),
            "messages": case["messages"], "parameters": {"do_sample": False, "max_new_tokens": 96}}
    if case.get("adapter"):
        body["adapter"] = case["adapter"]
    request = urllib.request.Request(URL, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


def main():
    right, total = collections.Counter(), collections.Counter()
    with open("demo/heldout.jsonl", encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            accept = case.get("accept") or [case["answer"]]
            got = ask(case)
            total[case["kind"]] += 1
            if got in accept:
                right[case["kind"]] += 1
            else:
                print("# %s: %r instead of %r" % (case["kind"], got, accept[0]))
    bad = not total
    for kind in sorted(total):
        share = right[kind] / total[kind]
        bad = bad or share < 0.95
        print("# %s: %d of %d right (%.1f %%)" % (kind, right[kind], total[kind], 100 * share))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
