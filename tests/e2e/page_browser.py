"""page_browser.py - the bridge's page in a real browser: questions, pictures, sounds, tokens; and what other pages and hostile models try with it."""
import base64
import http.server
import json
import os
import pathlib
import threading
import urllib.request

from browser import Browser

MODELS, STUB, CLOSED = (os.environ[n] for n in ("AIRLOCK_URL", "AIRLOCK_STUB_URL", "AIRLOCK_CLOSED_URL"))
TOKEN = "secret-secret-secret-secret"
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
DONE = "document.querySelectorAll('article').length >= %d && document.querySelector('#stop').hidden"
LOADED = "document.querySelector('#model') && !document.querySelector('#model').disabled"


def ask(b, text, answers=2, model=None):
    if model:
        b.js("""(() => { const s = document.querySelector('#model'); s.append(new Option(%s)); s.value = %s; })()""" % ((json.dumps(model),) * 2))
    b.type("#question", text)
    b.click("#send")
    b.wait(DONE % answers)
    return b.js("[...document.querySelectorAll('article')].at(-1).textContent")


def metric(url, start):
    lines = urllib.request.urlopen(url + "/metrics").read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def posts(b):
    return [json.loads(b.call("Network.getRequestPostData", requestId=m["params"]["requestId"])["postData"])
            for m in b.events if m["method"] == "Network.requestWillBeSent" and m["params"]["request"]["method"] == "POST"]


def a_conversation(b):
    b.open(MODELS + "/")
    b.wait(LOADED)
    first = ask(b, "how are you?", model="mini")
    assert first, "no answer"
    ask(b, "what can you do?", 4)
    b.js("0")
    last = posts(b)[-1]
    assert [m["role"] for m in last["messages"]] == ["user", "assistant", "user"] and last["messages"][1]["content"] == first, last
    assert {url for _, url, _ in b.requests()} == {MODELS + p for p in ("/", "/v1/models", "/v1/chat/completions")}, b.requests()
    b.click("#fresh")
    assert b.js("document.querySelectorAll('article').length") == 0


def pictures_and_sounds(b):
    picture, sound = GOLDEN / "images" / "rgb.png", GOLDEN / "audio" / "wav16k_s16.wav"
    b.open(MODELS + "/")
    b.wait(LOADED)
    b.choose_files("#choose", picture)
    b.wait("document.querySelectorAll('#files li').length == 1")
    b.drop("#question", "said.wav", "audio/x-wav", sound.read_bytes())
    b.wait("document.querySelectorAll('#files li').length == 2")
    b.drop("body", "page.html", "text/html", b"<b>no</b>")
    b.wait("document.querySelector('#notice').textContent.includes('page.html is no PNG')")
    b.js("document.querySelector('#model').value = 'mm'")
    assert ask(b, "what is it?"), "no answer"
    parts = posts(b)[-1]["messages"][0]["content"]
    assert parts == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound.read_bytes()).decode(), "format": "wav"}},
        {"type": "text", "text": "what is it?"}]
    assert b.js("document.querySelector('article img').naturalWidth") > 0, "the picture is not shown"
    assert not b.complaints(), b.complaints()


def a_hostile_model(b):
    """What it says is text: no element, no request, no script comes of it."""
    evil = "<img src=/v1/models onerror=document.title='owned'> <script>document.title='owned'</script> <a href=javascript:1>x</a> </article><iframe src=/>"
    b.open(STUB + "/")
    b.wait(LOADED)
    before = len(b.requests())
    assert ask(b, evil, model="chat") == evil
    assert b.js("document.querySelectorAll('article *').length") == 0
    assert b.js("document.title") == "Airlock"
    assert len(b.requests()) == before + 1, b.requests()
    # Even if the page's code put it into the page as markup, the policy would not let it run or load.
    assert "TrustedHTML" in b.js("(() => { try { document.body.innerHTML = '<b>x</b>'; } catch (e) { return String(e); } })()")
    assert b.js("""new Promise(done => { const s = document.createElement('img'); s.onerror = () => done(true); s.onload = () => done(false);
        s.src = 'http://127.0.0.1:1/x.png'; })""") and any("Content Security Policy" in c for c in b.complaints()), b.complaints()


def an_answer_can_be_stopped(b):
    b.open(STUB + "/")
    b.wait(LOADED)
    b.js("""(() => { const s = document.querySelector('#model'); s.append(new Option('chat')); s.value = 'chat'; })()""")
    b.type("#question", " ".join(map(str, range(3000))))
    b.click("#send")
    b.wait("[...document.querySelectorAll('article')].at(-1).textContent.includes(' 20 ')")
    b.click("#stop")
    b.wait("document.querySelector('#stop').hidden")
    assert b.js("[...document.querySelectorAll('article')].at(-1).className") == "cut"
    assert " 2999" not in b.js("[...document.querySelectorAll('article')].at(-1).textContent")
    assert b.js("document.querySelector('#question').value").endswith(" 2999"), "the question is gone"


def a_token_is_asked_for(b):
    b.open(CLOSED + "/")
    b.wait("!document.querySelector('#access').hidden && document.querySelector('#notice').textContent.includes('401')")
    b.type("#token", TOKEN)
    b.click("#access button")
    b.wait(LOADED + " && !document.querySelector('#notice').textContent")
    assert b.js("document.querySelector('#model').value") == "mm"
    assert not b.js("document.cookie + Object.keys(localStorage) + Object.keys(sessionStorage)"), "the token is kept"


ATTACK = """<title>evil</title><script>
const base = %s, tried = [];
const go = (name, promise) => tried.push(promise.then(r => name + " " + (r.type === "opaque" ? "opaque" : r.status), e => name + " " + e.name));
const question = '{"model":"chat","messages":[{"role":"user","content":"x"}]}';
go("cors", fetch(base + "/v1/models"));
go("opaque", fetch(base + "/v1/models", { mode: "no-cors" }));
go("json", fetch(base + "/v1/chat/completions", { method: "POST", headers: { "Content-Type": "application/json" }, body: question }));
go("plain", fetch(base + "/v1/chat/completions", { method: "POST", mode: "no-cors", body: question }));
go("form", fetch(base + "/v1/audio/transcriptions", { method: "POST", mode: "no-cors", body: new FormData() }));
go("page", fetch(base + "/", { mode: "no-cors" }));
document.write('<iframe id=f name=f src="' + base + '/"></iframe><iframe name=g></iframe><form id=h method=post enctype=text/plain target=g action="'
    + base + '/v1/chat/completions"><input name=\\'{"model":"chat","x":"\\' value=\\'","messages":[]}\\'></form>');
window.result = Promise.all(tried).then(async all => { h.submit(); await new Promise(r => setTimeout(r, 500)); return all.join(", "); });
</script>"""


def other_pages(b):
    """A page of another port, and one whose name was bound to this machine, get nothing and reach nothing."""
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write((ATTACK % json.dumps(STUB)).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    answered, refused = metric(STUB, "airlock_bridge_requests_total"), metric(STUB, "airlock_bridge_edge_refusals_total")
    for name in ("127.0.0.1", "localhost", "evil.example"):
        b.open("http://%s:%d/" % (name, port))
        b.wait("document.title == 'evil' && window.result")
        got = b.js("window.result")
        assert got == "cors TypeError, opaque opaque, json TypeError, plain opaque, form opaque, page opaque", got
    assert metric(STUB, "airlock_bridge_requests_total") == answered, "a request of another page was passed on"
    assert metric(STUB, "airlock_bridge_edge_refusals_total") >= refused + 3 * 7, "who refused them?"
    rebound = STUB.replace("127.0.0.1", "evil.example")
    b.open(rebound + "/")
    b.wait("document.body.innerText.includes('does not name this bridge')")
    assert b.js("fetch('/v1/models').then(r => r.status)") == 421
    # The control: the page's own requests, under both of its names, are answered.
    for own in (STUB, STUB.replace("127.0.0.1", "localhost")):
        b.open(own + "/")
        b.wait(LOADED)
        assert ask(b, "well", model="chat") == "well"
    server.shutdown()


with Browser(arguments=["--host-resolver-rules=MAP evil.example 127.0.0.1"]) as browser:
    for test in (a_conversation, pictures_and_sounds, a_hostile_model, an_answer_can_be_stopped, a_token_is_asked_for, other_pages):
        test(browser)
        print("ok page", test.__name__)
