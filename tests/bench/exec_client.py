# exec_client.py - one message from standard input to the server and its answer to standard output, as a process for each message does it.
import json
import sys
import urllib.request

request = urllib.request.Request(
    "http://127.0.0.1:8000/generate",
    data=json.dumps(json.load(sys.stdin)).encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as answer:
    sys.stdout.write(answer.read().decode().strip())
