"""browser.py - a headless Chromium over its debugging pipe: enough of it to open the bridge's page, use it as a person would, and see what it does."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time


class Browser:
    """One tab.  Use as a context manager."""

    def __init__(self, program=None, arguments=()):
        self.arguments = list(arguments)
        self.program = program or shutil.which("chromium-headless-shell") or shutil.which("chromium")
        if not self.program:
            raise RuntimeError("chromium-headless-shell is not installed")

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="airlock-browser-")
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()

        def fds():
            # The pipe's ends may be 3 and 4 themselves: move them away first.
            a, b = os.dup2(to_read, 100), os.dup2(from_write, 101)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [self.program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--user-data-dir=" + self.folder, *self.arguments, "about:blank"],
            preexec_fn=fds, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.out, self.come, self.rest, self.n = to_write, from_read, b"", 0
        self.events, self.session = [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _message(self):
        while b"\0" not in self.rest:
            piece = os.read(self.come, 1 << 16)
            if not piece:
                raise RuntimeError("the browser ended")
            self.rest += piece
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, **params):
        self.n += 1
        ask = {"id": self.n, "method": method, "params": params}
        if self.session:
            ask["sessionId"] = self.session
        os.write(self.out, json.dumps(ask).encode() + b"\0")
        while True:
            m = self._message()
            if m.get("id") == self.n:
                if "error" in m:
                    raise RuntimeError("%s: %s" % (method, m["error"]))
                return m["result"]
            self.events.append(m)

    def open(self, url):
        """Until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(m["method"] == "Page.loadEventFired" for m in self.events):
            self.events.append(self._message())

    def js(self, expression):
        """The value of an expression in the page; a promise is waited for."""
        r = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in r:
            raise RuntimeError(json.dumps(r["exceptionDetails"])[:500])
        return r["result"].get("value")

    def wait(self, expression, seconds=30):
        end = time.monotonic() + seconds
        while not self.js(expression):
            if time.monotonic() > end:
                raise RuntimeError("waited in vain for %s; the page says: %s" % (expression, self.js("document.body.innerText")))
            time.sleep(0.05)

    def type(self, selector, text):
        self.js("document.querySelector(%s).focus()" % json.dumps(selector))
        self.call("Input.insertText", text=text)

    def click(self, selector):
        self.js("document.querySelector(%s).click()" % json.dumps(selector))

    def choose_files(self, selector, *paths):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[os.path.abspath(p) for p in paths])

    def drop(self, selector, name, kind, data):
        """A file dropped on an element, as a page sees it."""
        self.js("""(() => {
            const bytes = Uint8Array.from(atob(%s), c => c.charCodeAt(0)), box = new DataTransfer();
            box.items.add(new File([bytes], %s, {type: %s}));
            document.querySelector(%s).dispatchEvent(new DragEvent("drop", {dataTransfer: box, bubbles: true, cancelable: true}));
        })()""" % tuple(json.dumps(v) for v in (base64.b64encode(data).decode(), name, kind, selector)))

    def requests(self):
        """What the page has asked for: (method, url, headers)."""
        self.js("0")
        sent = [m["params"]["request"] for m in self.events if m["method"] == "Network.requestWillBeSent"]
        return [(r["method"], r["url"], r["headers"]) for r in sent]

    def complaints(self):
        """Of the console and of the security policy; that storage was cleared, as the page's answer asks, is none."""
        self.js("0")
        logged = [m["params"]["entry"]["text"] for m in self.events if m["method"] == "Log.entryAdded"]
        return [text for text in logged if not text.startswith("Clear-Site-Data header")] + [
            json.dumps(m["params"])[:300] for m in self.events if m["method"] == "Runtime.exceptionThrown"]
