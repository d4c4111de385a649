#!/usr/bin/env python3
"""soak.py - 64 callers for some minutes: answers equal to those given alone, cancels, hang-ups, killed channels, adapters that
come and go, bad requests; memory flat, every request answered or refused.

usage: soak.py INSTALL_TREE [SECONDS]     (INSTALL_TREE as quickstart makes it: build/tree)
Starts a server and a bridge of its own, without a container: the bridge's runtime "custom" starts the relay here.
"""
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

TREE = pathlib.Path(sys.argv[1]).resolve() / "usr/local"
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 120
CALLERS, TOKEN = 64, "soak-admin-token"
HERE = pathlib.Path(__file__).resolve().parents[2]
PORT = 8191
questions = [json.loads(line) for line in open(HERE / "demo/heldout.jsonl", encoding="utf-8")]
questions = [(q["messages"], q.get("adapter")) for q in questions if q["kind"] in ("about", "parts", "sums", "dates", "pirate")][::3]


def start(work):
    config = json.loads((HERE / "demo/model_config.json").read_text())
    for model in config["models"]:
        model.update(model_path=str(HERE / "demo/model"), max_concurrent_per_adapter=16, queue=256, max_batch=32,
                     adapter_map={n: str(HERE / "demo/adapters" / n) for n in ("dates", "pirate")})
    (work / "config.json").write_text(json.dumps(config))
    (work / "admin").write_text(TOKEN + "\n")
    os.chmod(work / "admin", 0o600)
    shutil.copytree(HERE / "demo/adapters/pirate", work / "adapters/extra")
    env = {**os.environ, "LD_LIBRARY_PATH": str(TREE / "lib")}
    server = subprocess.Popen([TREE / "bin/airlock-server", "--config", work / "config.json", "--listen", f"unix:{work}/s",
                               "--plugin-dir", TREE / "lib/airlock/plugins", "--adapter-dir", work / "adapters",
                               "--admin-token-file", work / "admin"], env=env, stderr=open(work / "server.log", "w"))
    bridge = {"listen": f"127.0.0.1:{PORT}", "channels": 80, "waiters": 256, "containers": [
        {"name": "phi", "runtime": "custom",
         "command": [str(TREE / "bin/airlock-client"), "--connect", f"unix:{work}/s", "--relay"]}]}
    (work / "bridge.json").write_text(json.dumps(bridge))
    bridge = subprocess.Popen([TREE / "bin/airlock-bridge", "--config", work / "bridge.json"], env=env,
                              stderr=open(work / "bridge.log", "w"))
    for _ in range(300):
        try:
            if call("GET", "/readyz")[0] == 200:
                return server, bridge
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("not ready: " + (work / "server.log").read_text() + (work / "bridge.log").read_text())


def call(method, path, body=None, headers=None, leave_after=None):
    """Status and text; leave_after seconds: hangs up instead."""
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        c.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        if leave_after is not None:
            time.sleep(leave_after)
            return None, ""
        answer = c.getresponse()
        return answer.status, answer.read().decode()
    finally:
        c.close()


def generate(messages, adapter, **parameters):
    return {"model": "Phi4MiniInstruct", "container_name": "phi", "messages": messages, "adapter": adapter,
            "parameters": {"do_sample": False, "max_new_tokens": 96, **parameters}}


def rss(process):
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


class Soak:
    def __init__(self, work):
        self.work, self.lock, self.counts, self.faults = work, threading.Lock(), {}, []
        self.server, self.bridge = start(work)
        self.expected = [call("POST", "/generate", generate(m, a)) for m, a in questions]
        if any(status != 200 for status, _ in self.expected):
            sys.exit("a question alone was not answered: %s" % [e for e in self.expected if e[0] != 200][:1])
        self.stop = time.time() + SECONDS

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def question(self, rng):
        i = rng.randrange(len(questions))
        status, text = call("POST", "/generate", generate(*questions[i]))
        self.count("answered" if status == 200 else f"refused {status}")
        if status == 200 and text != self.expected[i][1]:
            self.fault(f"question {i} in company: {text!r} instead of {self.expected[i][1]!r}")
        elif status not in (200, 502, 503):
            self.fault(f"question {i}: status {status} {text[:200]}")

    def stream(self, rng):
        i = rng.randrange(len(questions))
        messages, adapter = questions[i]
        body = {"model": "demo" + (":" + adapter if adapter else ""), "messages": messages, "max_tokens": 96, "stream": True}
        status, text = call("POST", "/v1/chat/completions", body)
        self.count("streamed" if status == 200 else f"stream refused {status}")
        if status != 200:
            if status not in (502, 503):
                self.fault(f"stream {i}: status {status} {text[:200]}")
            return
        events = [e[6:] for e in text.split("\n\n") if e.startswith("data: ")]
        if '"error"' in events[-1] or (len(events) > 1 and '"error"' in events[-2]):
            self.count("stream ended by an error")
            return
        got = "".join((json.loads(e)["choices"] or [{"delta": {}}])[0]["delta"].get("content") or "" for e in events[:-1])
        if events[-1] != "[DONE]" or got.strip() != self.expected[i][1]:
            self.fault(f"stream {i}: {got!r} instead of {self.expected[i][1]!r}, end {events[-1]!r}")

    def leave(self, rng):
        call("POST", "/generate", generate(*rng.choice(questions), max_new_tokens=2000, repetition_penalty=0.5,
                                           frequency_penalty=-2.0), leave_after=rng.random() * 0.3)
        self.count("left")

    def bad(self, rng):
        bodies = [b"{", b"[" * 5000, b"\xff\xfe", b'{"model":"nobody","container_name":"phi","messages":[]}',
                  json.dumps(generate([], "nobody")).encode(), json.dumps(generate([{"role": "pope", "content": ""}], None)).encode(),
                  json.dumps(generate([{"role": "user", "content": "x " * 9000}], None)).encode()]
        status, text = call("POST", "/generate", rng.choice(bodies))
        self.count(f"bad {status}")
        if status not in (400, 404, 422, 502, 503):
            self.fault(f"a bad request got {status} {text[:200]}")

    def adapters(self, rng):
        header = {"Airlock-Admin": TOKEN}
        while time.time() < self.stop:
            status, text = call("POST", "/v1/load_lora_adapter", {"lora_name": "extra", "lora_path": "extra"}, header)
            self.count(f"load {status}")
            if status not in (200, 502, 503):
                self.fault(f"load: {status} {text[:200]}")
            status, text = call("POST", "/generate", generate([{"role": "user", "content": "how are you?"}], "extra"))
            if status not in (200, 502, 503) or (status == 200 and "rr" not in text):
                self.fault(f"the loaded adapter: {status} {text[:200]}")
            time.sleep(rng.random() * 0.2)
            status, text = call("POST", "/v1/unload_lora_adapter", {"lora_name": "extra"}, header)
            self.count(f"unload {status}")
            while status in (502, 503, 409):
                status, text = call("POST", "/v1/unload_lora_adapter", {"lora_name": "extra"}, header)
            if status not in (200, 400, 404):
                self.fault(f"unload: {status} {text[:200]}")

    def killer(self, rng):
        while time.time() < self.stop:
            time.sleep(1 + rng.random())
            relays = subprocess.run(["pgrep", "-f", f"unix:{self.work}/s --relay"], capture_output=True, text=True).stdout.split()
            if relays:
                try:
                    os.kill(int(rng.choice(relays)), signal.SIGKILL)
                    self.count("channels killed")
                except ProcessLookupError:
                    pass

    def caller(self, number):
        rng = random.Random(number)
        while time.time() < self.stop:
            roll = rng.random()
            act = (self.question if roll < 0.55 else self.stream if roll < 0.75 else self.leave if roll < 0.9 else self.bad)
            try:
                act(rng)
            except (OSError, http.client.HTTPException) as error:
                self.count("cut: " + type(error).__name__)

    def run(self):
        threads = [threading.Thread(target=self.caller, args=(n,)) for n in range(CALLERS)]
        threads += [threading.Thread(target=f, args=(random.Random(f.__name__),)) for f in (self.adapters, self.killer)]
        for t in threads:
            t.start()
        time.sleep(SECONDS / 3)
        before = rss(self.server), rss(self.bridge)
        for t in threads:
            t.join()
        time.sleep(2)
        after = rss(self.server), rss(self.bridge)
        print("# memory after a third and at the end, MiB: server %.0f %.0f, bridge %.0f %.0f" %
              (before[0], after[0], before[1], after[1]))
        for name, one, two in (("server", before[0], after[0]), ("bridge", before[1], after[1])):
            if two > one * 1.1 + 8:
                self.fault(f"the {name}'s memory grew from {one:.0f} to {two:.0f} MiB")
        for process, name in ((self.bridge, "bridge"), (self.server, "server")):
            if process.poll() is not None:
                self.fault(f"the {name} ended with {process.returncode}")
            process.terminate()
            if process.wait(60) != 0:
                self.fault(f"the {name} ended with {process.returncode} after SIGTERM")
        for what in sorted(self.counts):
            print(f"# {what}: {self.counts[what]}")
        for text in self.faults[:20]:
            print("not ok: " + text)
        if not self.counts.get("answered") or not self.counts.get("channels killed"):
            print("not ok: nothing happened")
            return 1
        return 1 if self.faults else 0


with tempfile.TemporaryDirectory() as folder:
    soak = Soak(pathlib.Path(folder))
    result = soak.run()
    if result:
        print((pathlib.Path(folder) / "server.log").read_text()[-2000:])
sys.exit(result)
