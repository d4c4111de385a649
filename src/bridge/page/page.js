// page.js - asks the bridge that served the page, with pictures and sounds, and shows the answer as it is made.
// What a model or a container says becomes text, never markup: textContent is the only way in.
"use strict";
{
    const MAX_BYTES = 48e6; // of all files of a conversation: base64 makes 64 MiB of them
    const SOUNDS = { wav: /wav/, mp3: /mpeg|mp3/, flac: /flac/, ogg: /ogg|opus/ };
    const PICTURES = /^image\/(png|jpeg|webp|gif)$/;
    const el = id => document.getElementById(id);
    let files = []; // chosen and not yet sent: {name, size, part, preview}
    let messages = []; // the conversation, as the API takes it
    let sent = 0; // bytes of files in it
    let running = null; // the AbortController of the question on its way

    const notice = text => { el("notice").textContent = text; };

    function make(tag, parent, text) {
        const node = document.createElement(tag);
        if (text !== undefined) node.textContent = text;
        parent.append(node);
        return node;
    }

    // ---- the bridge ----

    async function call(path, options = {}) {
        const headers = { ...options.headers };
        const token = el("token").value.trim();
        if (token) headers.Authorization = "Bearer " + token;
        const answer = await fetch(path, {
            ...options, headers, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "same-origin",
        });
        if (answer.ok) return answer;
        if (answer.status === 401) {
            el("access").hidden = false;
            el("token").focus();
        }
        let words = "";
        try {
            const body = JSON.parse(await answer.text());
            words = body.error ? body.error.message : body.detail;
        } catch { /* the status alone */ }
        throw new Error(answer.status + (typeof words === "string" && words ? ": " + words : ""));
    }

    async function listModels() {
        const list = await (await call("/v1/models")).json();
        const select = el("model"), chosen = select.value;
        select.replaceChildren();
        for (const model of list.data) make("option", select, String(model.id));
        if (list.data.some(model => model.id === chosen)) select.value = chosen;
        select.disabled = false;
        notice("");
    }

    // Calls take(json) for each event of a stream, until its [DONE].
    async function events(body, take) {
        const reader = body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const { done, value } = await reader.read();
            if (done) throw new Error("the answer broke off");
            const lines = (rest + value).split("\n");
            rest = lines.pop();
            for (const line of lines) {
                if (!line.startsWith("data:")) continue;
                const data = line.slice(5).trim();
                if (data === "[DONE]") return;
                take(JSON.parse(data));
            }
        }
    }

    // ---- files ----

    function readAs(file) {
        return new Promise((resolve, reject) => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
            reader.onerror = () => reject(new Error(file.name + " cannot be read"));
            reader.readAsDataURL(file);
        });
    }

    function soundFormat(file) {
        const known = Object.keys(SOUNDS).find(format => SOUNDS[format].test(file.type));
        return known || Object.keys(SOUNDS).find(format => file.name.toLowerCase().endsWith("." + format));
    }

    async function addFile(file) {
        const picture = PICTURES.test(file.type), format = picture ? null : soundFormat(file);
        if (!picture && !format) throw new Error(file.name + " is no PNG, JPEG, WebP or GIF, and no WAV, FLAC, OGG or MP3");
        if (sent + files.reduce((sum, f) => sum + f.size, file.size) > MAX_BYTES) throw new Error("the files are larger than 48 MB together");
        const data = await readAs(file);
        const part = picture ? { type: "image_url", image_url: { url: "data:" + file.type + ";base64," + data } }
            : { type: "input_audio", input_audio: { data, format } };
        files.push({ name: file.name, size: file.size, part, preview: picture ? URL.createObjectURL(file) : null });
        showFiles();
    }

    async function addFiles(list) {
        notice("");
        for (const file of list) {
            try {
                await addFile(file);
            } catch (error) {
                notice(error.message);
            }
        }
    }

    function preview(file, parent) {
        if (!file.preview) return make("span", parent, file.name);
        const image = make("img", parent);
        image.src = file.preview;
        image.alt = file.name;
        return image;
    }

    function showFiles() {
        el("files").replaceChildren();
        for (const file of files) {
            const item = make("li", el("files"));
            preview(file, item);
            const remove = make("button", item, "Remove");
            remove.type = "button";
            remove.addEventListener("click", () => {
                files = files.filter(f => f !== file);
                showFiles();
            });
        }
    }

    // ---- the conversation ----

    function busy(controller) {
        running = controller;
        el("send").disabled = Boolean(controller);
        el("stop").hidden = !controller;
    }

    // Streams the answer to the conversation into a node, and returns its text.
    async function answerInto(node, conversation, signal) {
        const answer = await call("/v1/chat/completions", {
            method: "POST", signal, headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ model: el("model").value, stream: true, messages: conversation }),
        });
        const text = node.appendChild(document.createTextNode(""));
        await events(answer.body, event => {
            if (event.error) throw new Error(event.error.message);
            for (const choice of event.choices) text.appendData(choice.delta.content || "");
        });
        return text.data;
    }

    async function ask() {
        const question = el("question").value.trim();
        if (running || (!question && !files.length)) return;
        const asked = files, content = asked.map(f => f.part);
        if (question) content.push({ type: "text", text: question });
        const message = { role: "user", content: asked.length ? content : question };
        const mine = make("article", el("talk"));
        mine.className = "user";
        for (const file of asked) preview(file, mine);
        mine.append(asked.length && question ? "\n" + question : question);
        const node = make("article", el("talk"));
        notice("");
        busy(new AbortController());
        try {
            const text = await answerInto(node, [...messages, message], running.signal);
            messages.push(message, { role: "assistant", content: text });
            sent += asked.reduce((sum, f) => sum + f.size, 0);
            files = files.filter(f => !asked.includes(f));
            showFiles();
            el("question").value = "";
        } catch (error) { // the question stays, to be asked again
            node.classList.add("cut");
            if (error.name !== "AbortError") notice(String(error.message));
            if (!node.textContent) {
                node.remove();
                mine.remove();
            }
        }
        busy(null);
        el("question").focus();
    }

    function fresh() {
        if (running) running.abort();
        for (const image of el("talk").querySelectorAll("img")) URL.revokeObjectURL(image.src);
        messages = [];
        sent = 0;
        el("talk").replaceChildren();
        notice("");
    }

    // ---- what the user does ----

    el("ask").addEventListener("submit", event => {
        event.preventDefault();
        ask();
    });
    el("question").addEventListener("keydown", event => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            ask();
        }
    });
    el("access").addEventListener("submit", event => {
        event.preventDefault();
        listModels().catch(error => notice(error.message));
    });
    el("stop").addEventListener("click", () => running && running.abort());
    el("fresh").addEventListener("click", fresh);
    el("choose").addEventListener("change", () => {
        addFiles([...el("choose").files]);
        el("choose").value = "";
    });
    document.addEventListener("paste", event => {
        if (event.clipboardData.files.length) addFiles([...event.clipboardData.files]);
    });
    // A file dropped beside the text would otherwise replace the page.
    document.addEventListener("dragover", event => {
        event.preventDefault();
        el("question").classList.add("over");
    });
    document.addEventListener("dragleave", () => el("question").classList.remove("over"));
    document.addEventListener("drop", event => {
        event.preventDefault();
        el("question").classList.remove("over");
        addFiles([...event.dataTransfer.files]);
    });
    listModels().catch(error => notice(error.message));
}
