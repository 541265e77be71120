// Draws the state of app.js and turns input into its calls; nothing here knows the protocol.
import { h, render } from "./vendor/preact.mjs";
import { useEffect, useLayoutEffect, useRef } from "./vendor/hooks.mjs";
import { effect, signal } from "./vendor/signals.mjs";
import htm from "./vendor/htm.mjs";
import * as app from "./app.js";
import { files_of_transfer, transfer_has_files } from "./images.js";
import { MarkdownStream } from "./markdown.js";

const html = htm.bind(h);
const PINNED_PX = 24; // this near to the end counts as at the end
const COMPOSER_MAX_PX = 220;

const SAMPLES = [
  { url: "samples/4-shapes-ring-heart.png", alt: "Hearts and rings", question: "Describe the picture." },
  { url: "samples/purple-heart-and-black-triangle.png", alt: "A heart and a triangle", question: "How many shapes are there?" },
  { url: "samples/word-sheep.png", alt: "A handwritten word", question: "What is in the photo?" },
  { url: "samples/number-37.png", alt: "A number", question: "Read the number." },
];
const PROMPTS = ["What can you do?", "Which shapes do you know?", "What is 3 plus 4?"];

const enlarged = signal(null); // the picture in the dialog
const is_dropping = signal(false);
const is_pinned = signal(true);
const fine_pointer = matchMedia("(pointer: fine)");

// ---- small parts ----

const ICONS = {
  image: "M4 5h16v14H4z M4 16l4.5-4.5 4 4 3-3L20 17 M15.5 9.5h.01",
  send: "M12 19V5 M5.5 11.5 12 5l6.5 6.5",
  close: "M6 6l12 12 M18 6 6 18",
  down: "M12 5v14 M5.5 12.5 12 19l6.5-6.5",
  compose: "M12 5H6a1 1 0 0 0-1 1v12a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-6 M17.5 4.5l2 2L13 13l-2.6.6L11 11z",
  copy: "M9 9h10v10H9z M5 15V5h10",
  retry: "M5 12a7 7 0 1 0 2.2-5.1 M5 4v4h4",
};

function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} /></svg>`;
}

function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <circle class="mark-rim" cx="16" cy="16" r="14.5" />
    <circle class="mark-iris" cx="16" cy="16" r="9.5" />
    <circle class="mark-pupil" cx="16" cy="16" r="5" />
    <circle class="mark-light" cx="18.4" cy="13.2" r="1.9" />
  </svg>`;
}

const one_decimal = (n) => (n < 100 ? n.toFixed(1) : Math.round(n).toString());
const format_ms = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

function ordinal(n) {
  const tens = n % 100;
  if (tens >= 11 && tens <= 13) return `${n}th`;
  return `${n}${["th", "st", "nd", "rd"][n % 10] ?? "th"}`;
}

// ---- header ----

function connection_text({ name }) {
  if (name === "open") return "Connected";
  return name === "lost" ? "Reconnecting" : "Connecting";
}

function Header() {
  const state = app.connection.value;
  const model = app.model.value;
  return html`<header class="header">
    <div class="brand"><${Mark} /><h1>ocellus</h1></div>
    <div class="status">
      ${model && html`<span class="model" title=${model.id}>${model.id}</span>`}
      <span class="connection" data-state=${state.name}>
        <span class="dot" aria-hidden="true"></span><span class="connection-text">${connection_text(state)}</span>
      </span>
    </div>
    <button type="button" class="quiet new-chat" onClick=${new_chat} disabled=${app.messages.value.length === 0}>
      <${Icon} name="compose" /><span>New chat</span>
    </button>
  </header>`;
}

function new_chat() {
  app.chat_clear();
  is_pinned.value = true;
  focus_composer();
}

// ---- transcript ----

function Thumbnail({ picture }) {
  const state = picture.state.value;
  const size = state.name === "stored" ? `, ${state.width} by ${state.height}` : "";
  const unseen = picture.is_seen.value ? "" : ", no longer seen by the model";
  return html`<button type="button" class=${`thumbnail${unseen && " unseen"}`} title=${unseen.slice(2)}
    aria-label=${`Enlarge ${picture.name}${size}${unseen}`} onClick=${() => (enlarged.value = picture)}>
    <img src=${picture.thumb_url.value} alt="" />
  </button>`;
}

function UserMessage({ message }) {
  return html`<article class="message user" aria-label="You">
    ${message.pictures.length > 0 &&
    html`<div class="thumbnails">${message.pictures.map((p) => html`<${Thumbnail} key=${p.id} picture=${p} />`)}</div>`}
    ${message.text !== "" && html`<p class="bubble">${message.text}</p>`}
  </article>`;
}

function sending_line(reply) {
  const busy = reply.user.pictures.map((p) => p.state.value).find((state) => state.name !== "stored");
  if (app.connection.value.name !== "open") return "Waiting for the connection";
  if (busy?.name === "uploading") return `Uploading the picture ${Math.floor(busy.share * 100)} %`;
  return busy ? "Preparing the picture" : "Sending";
}

function stage_line(reply) {
  if (reply.phase.value === "sending") return sending_line(reply);
  const progress = reply.progress.value;
  if (progress === null) return "Waiting for the model";
  const { stage, done, total, queue_position } = progress;
  const nth = Math.min(done + 1, total);
  if (stage === "queued") {
    return queue_position > 1 ? `Waiting: ${ordinal(queue_position)} in line` : "Waiting: next in line";
  }
  if (stage === "decoding") return `Decoding image ${nth} of ${total}`;
  if (stage === "loading") return `Loading the model ${Math.floor((100 * done) / Math.max(total, 1))} %`;
  if (stage === "encoding") return `Encoding image ${nth} of ${total}`;
  if (stage === "prefill") return `Reading the prompt ${done} of ${total}`;
  return "Working";
}

function StageLine({ reply }) {
  const progress = reply.phase.value === "waiting" ? reply.progress.value : null;
  const measured = progress?.total > 0 && ["loading", "prefill"].includes(progress.stage);
  const share = measured ? progress.done / progress.total : undefined;
  return html`<div class="stage">
    <span class="pulse" aria-hidden="true"></span><span class="stage-text">${stage_line(reply)}</span>
    ${share !== undefined && html`<progress class="stage-bar" value=${share} max="1" aria-hidden="true" />`}
  </div>`;
}

// The text goes past Preact: one draw a frame, however many deltas came; the end is drawn even in a hidden tab.
function ReplyText({ reply }) {
  const box = useRef(null);
  useLayoutEffect(() => {
    let stream = new MarkdownStream(box.current);
    let frame = 0;
    let drawn = "";
    const draw = () => {
      frame = 0;
      const text = reply.text.peek();
      if (!text.startsWith(drawn)) {
        box.current.replaceChildren();
        stream = new MarkdownStream(box.current);
      }
      stream.update(text);
      drawn = text;
    };
    const end = effect(() => {
      const text = reply.text.value;
      const is_streaming = !app.is_final(reply.phase.value);
      if (is_streaming) frame ||= requestAnimationFrame(draw);
      else {
        cancelAnimationFrame(frame);
        frame = 0;
        stream.finish(text);
        drawn = text;
      }
    });
    return () => {
      end();
      cancelAnimationFrame(frame);
    };
  }, [reply]);
  return html`<div class="markdown" dir="auto" ref=${box} onClick=${copy_code}></div>`;
}

async function copy_text(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    app.announcement.value = "Copied";
    button.dataset.copied = "";
    setTimeout(() => delete button.dataset.copied, 1500);
  } catch {
    app.notice.value = "The browser does not let this page copy; select the text instead.";
  }
}

function copy_code(e) {
  const button = e.target.closest(".copy-code");
  if (button) copy_text(button.closest(".code-block").querySelector("pre").textContent, button);
}

function stats_text(stats) {
  const parts = [];
  if (stats.decode_tps > 0) parts.push(`${one_decimal(stats.decode_tps)} tokens/s`);
  if (stats.ttft_ms > 0) parts.push(`first token after ${format_ms(stats.ttft_ms)}`);
  const { images_encoded = 0, images_cached = 0 } = stats.cache ?? {};
  if (images_encoded > 0) parts.push(`${images_encoded} image${images_encoded > 1 ? "s" : ""} encoded`);
  else if (images_cached > 0) parts.push("image from cache");
  return parts.join(" · ");
}

function ReplyFooter({ reply, is_last }) {
  const phase = reply.phase.value;
  const stats = reply.stats.value;
  const notes = [];
  if (phase === "stopped") notes.push("Stopped");
  if (phase === "incomplete") {
    notes.push(reply.incomplete_reason === "context" ? "Ended: the context is full" : "Ended: the reply's limit is reached");
  }
  if (stats) notes.push(stats_text(stats));
  const can_retry = is_last && ["failed", "lost", "stopped"].includes(phase);
  return html`<footer class="reply-footer">
    <span class="stats">${notes.filter(Boolean).join(" · ")}</span>
    ${reply.text.value !== "" &&
    html`<button type="button" class="quiet small copy" aria-label="Copy the reply"
      onClick=${(e) => copy_text(reply.text.value, e.currentTarget)}><${Icon} name="copy" /></button>`}
    ${can_retry &&
    html`<button type="button" class="quiet small retry" onClick=${() => app.retry(reply)}>
      <${Icon} name="retry" /><span>Try again</span></button>`}
  </footer>`;
}

// What to do about it; what happened and which limit it met stands in the server's own words behind it.
const ADVICE = {
  context_exceeded: "This conversation no longer fits the model. Start a new chat, or ask something shorter.",
  too_many_images: "There are too many pictures in this conversation.",
  busy: "The server is busy. Try again in a moment.",
  image_truncated: "A picture ends before it is complete.",
  image_unsupported: "A picture is of a kind that this server does not read.",
  image_too_large: "A picture is too large for this server.",
};

// One line a kind: a conversation may have lost many pictures.
function Notices({ reply }) {
  const kinds = new Map();
  for (const notice of reply.notices.value) {
    kinds.set(notice.code, { message: kinds.get(notice.code)?.message ?? notice.message, n: (kinds.get(notice.code)?.n ?? 0) + 1 });
  }
  return [...kinds].map(([code, { message, n }]) => html`<p class="note" role="status" key=${code}>
    ${message}${n > 1 ? ` So it is with ${n} pictures.` : ""}</p>`);
}

function Reply({ reply, is_last }) {
  const phase = reply.phase.value;
  const is_waiting = phase === "sending" || phase === "waiting";
  const is_done = app.is_final(phase);
  const error = reply.error.value;
  return html`<article class="message reply" data-phase=${phase} aria-label="ocellus" aria-busy=${!is_done}>
    ${is_waiting && html`<${StageLine} reply=${reply} />`}
    <${Notices} reply=${reply} />
    <${ReplyText} reply=${reply} />
    ${error && html`<p class="error" role="alert">
      ${ADVICE[error.code] && html`<strong>${ADVICE[error.code]}</strong> `}${error.message}
    </p>`}
    ${is_done && html`<${ReplyFooter} reply=${reply} is_last=${is_last} />`}
  </article>`;
}

function Welcome() {
  const sees = app.takes_images.value;
  const is_demo = app.model.value?.id.includes("demo");
  return html`<section class="welcome">
    <${Mark} />
    <h2>${sees ? "Show me a picture" : "Ask me something"}</h2>
    <p class="lead">
      ${sees ? "Drop it anywhere on this page, paste it, or pick a file. Then ask. " : ""}
      Everything is computed by this server; nothing goes further.
    </p>
    ${sees &&
    html`<h3>${is_demo ? "The bundled model knows shapes, words and numbers. Try one:" : "Or try one of these:"}</h3>
      <ul class="samples">
        ${SAMPLES.map(
          (sample) => html`<li key=${sample.url}>
            <button type="button" class="sample" onClick=${() => ask_sample(sample)}>
              <img src=${sample.url} alt=${sample.alt} width="160" height="160" /><span>${sample.question}</span>
            </button>
          </li>`,
        )}
      </ul>`}
    <ul class="prompts">
      ${PROMPTS.map((prompt) => html`<li key=${prompt}>
        <button type="button" class="prompt" onClick=${() => ask_prompt(prompt)}>${prompt}</button>
      </li>`)}
    </ul>
  </section>`;
}

function ask_sample(sample) {
  is_pinned.value = true;
  app.ask_sample(sample);
  focus_composer();
}

function ask_prompt(prompt) {
  is_pinned.value = true;
  app.ask(prompt);
  focus_composer();
}

// Follows the text while pinned. Whoever scrolls up, in whatever way, unpins; whoever comes back to the end pins.
function Transcript() {
  const scroller = useRef(null);
  const content = useRef(null);
  useEffect(() => {
    const box = scroller.current;
    let last_top = 0;
    const distance = () => box.scrollHeight - box.clientHeight - box.scrollTop;
    const follow = () => {
      if (is_pinned.value && app.messages.peek().length > 0) box.scrollTop = box.scrollHeight;
    };
    const on_scroll = () => {
      const went_up = box.scrollTop < last_top && distance() > 1;
      if (went_up) is_pinned.value = false;
      else if (box.scrollTop > last_top && distance() <= PINNED_PX) is_pinned.value = true;
      last_top = box.scrollTop;
    };
    const on_wheel = (e) => {
      if (e.deltaY < 0 && box.scrollTop > 0) is_pinned.value = false;
    };
    const watch = new ResizeObserver(follow);
    watch.observe(content.current);
    watch.observe(box);
    box.addEventListener("scroll", on_scroll, { passive: true });
    box.addEventListener("wheel", on_wheel, { passive: true });
    const end = effect(follow);
    return () => {
      end();
      watch.disconnect();
      box.removeEventListener("scroll", on_scroll);
      box.removeEventListener("wheel", on_wheel);
    };
  }, []);
  const messages = app.messages.value;
  return html`<main class="transcript" ref=${scroller} tabindex="-1">
    <div class="column" ref=${content} role="log" aria-live="off" aria-label="Conversation">
      ${messages.length === 0 && html`<${Welcome} />`}
      ${messages.map((message, i) =>
        message.role === "user"
          ? html`<${UserMessage} key=${message.id} message=${message} />`
          : html`<${Reply} key=${message.id} reply=${message} is_last=${i === messages.length - 1} />`,
      )}
    </div>
  </main>`;
}

// ---- composer ----

const composer = { text: null, file: null }; // its elements

function focus_composer() {
  if (fine_pointer.matches) composer.text?.focus(); // on a phone the keyboard would cover the answer
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, COMPOSER_MAX_PX)}px`;
}

function submit() {
  const area = composer.text;
  if (!app.ask(area.value.trim())) return;
  is_pinned.value = true;
  area.value = "";
  grow(area);
  focus_composer();
}

function on_key(e) {
  if (e.key !== "Enter" || e.shiftKey || e.isComposing || e.keyCode === 229 || !fine_pointer.matches) return;
  e.preventDefault();
  submit();
}

function picture_line(state) {
  if (state.name === "preparing") return "Preparing";
  if (state.name === "uploading") return `Uploading ${Math.floor(state.share * 100)} %`;
  if (state.name === "failed") return state.message;
  const tokens = state.n_tokens ? ` · ${state.n_tokens} tokens` : "";
  return `${state.width}×${state.height}${tokens}`;
}

function ComposerPicture({ picture }) {
  const state = picture.state.value;
  return html`<li class="picture" data-state=${state.name}>
    <div class="picture-frame">
      ${picture.thumb_url.value && html`<img src=${picture.thumb_url.value} alt=${picture.name} />`}
      ${state.name === "uploading" && html`<progress value=${state.share} max="1" aria-label="Upload" />`}
    </div>
    <div class="picture-text">
      <span class="picture-name" title=${picture.name}>${picture.name}</span>
      <span class="picture-state">${picture_line(state)}</span>
      ${state.note && html`<span class="picture-state">${state.note}</span>`}
    </div>
    <button type="button" class="quiet small remove" aria-label=${`Remove ${picture.name}`}
      onClick=${() => {
        app.picture_remove(picture);
        focus_composer();
      }}><${Icon} name="close" /></button>
  </li>`;
}

function ConnectionNote() {
  const state = app.connection.value;
  const box = useRef(null);
  useEffect(() => {
    if (state.name !== "lost") return undefined;
    const show = () => {
      const seconds = Math.ceil((state.retry_at - Date.now()) / 1000);
      box.current.textContent = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…";
    };
    show();
    const timer = setInterval(show, 500);
    return () => clearInterval(timer);
  }, [state]);
  if (state.name !== "lost") return null;
  return html`<p class="note"><strong role="status">No connection to the server.</strong> <span ref=${box}></span> What you
    write here stays.</p>`;
}

function pick_files(e) {
  app.pictures_add([...e.currentTarget.files]);
  e.currentTarget.value = ""; // the same file may be picked again
  focus_composer();
}

function Composer() {
  const is_busy = app.active_reply.value !== null;
  const sees = app.takes_images.value;
  useEffect(focus_composer, []);
  return html`<form class="composer" onSubmit=${(e) => {
    e.preventDefault();
    submit();
  }}>
    <div class="column">
      ${!is_pinned.value &&
      html`<button type="button" class="jump" onClick=${() => (is_pinned.value = true)}>
        <${Icon} name="down" /><span>Jump to latest</span>
      </button>`}
      <${ConnectionNote} />
      ${app.notice.value && html`<p class="note warn" role="alert"><span>${app.notice.value}</span>
        <button type="button" class="quiet small" aria-label="Dismiss" onClick=${() => (app.notice.value = "")}>
          <${Icon} name="close" /></button></p>`}
      <div class="card">
        ${app.pictures.value.length > 0 &&
        html`<ul class="pictures" aria-label="Pictures to send">
          ${app.pictures.value.map((p) => html`<${ComposerPicture} key=${p.id} picture=${p} />`)}
        </ul>`}
        <div class="line">
          <input type="file" hidden accept="image/*" multiple ref=${(e) => (composer.file = e)} onChange=${pick_files} />
          <button type="button" class="quiet attach" disabled=${!sees} aria-label="Add pictures"
            title=${sees ? "Add pictures" : "This model reads text only"} onClick=${() => composer.file.click()}>
            <${Icon} name="image" />
          </button>
          <textarea rows="1" dir="auto" aria-label="Your message" enterkeyhint=${fine_pointer.matches ? "send" : "enter"}
            placeholder=${sees ? "Ask about a picture" : "Ask something"} ref=${(e) => (composer.text = e)}
            onInput=${(e) => grow(e.currentTarget)} onKeyDown=${on_key}></textarea>
          ${is_busy
            ? html`<button key="stop" type="button" class="round stop" aria-label="Stop" title="Stop (Esc)"
                onClick=${stop}><span class="square" aria-hidden="true"></span></button>`
            : html`<button key="send" type="submit" class="round send" aria-label="Send" title="Send">
                <${Icon} name="send" /></button>`}
        </div>
      </div>
      <p class="hint">Enter sends, Shift + Enter makes a new line. Paste or drop pictures anywhere.</p>
    </div>
  </form>`;
}

function stop() {
  app.stop();
  focus_composer();
}

// ---- over everything ----

function Enlarged() {
  const dialog = useRef(null);
  const picture = enlarged.value;
  useLayoutEffect(() => {
    if (picture === null) return undefined;
    const url = URL.createObjectURL(picture.made.blob);
    dialog.current.querySelector("img").src = url;
    dialog.current.showModal();
    return () => URL.revokeObjectURL(url);
  }, [picture]);
  if (picture === null) return null;
  const close = () => dialog.current.close();
  return html`<dialog class="enlarged" ref=${dialog} aria-label=${picture.name} onClick=${close}
    onClose=${() => (enlarged.value = null)}>
    <img alt=${picture.name} />
    <button type="button" class="round" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>
  </dialog>`;
}

function DropOverlay() {
  if (!is_dropping.value) return null;
  return html`<div class="drop"><div class="drop-box"><${Mark} />
    <p>${app.takes_images.value ? "Drop to add it to your message" : "This model takes no pictures"}</p></div></div>`;
}

function App() {
  return html`<${Header} /><${Transcript} /><${Composer} /><${DropOverlay} /><${Enlarged} />
    <p class="sr-only" role="status">${app.announcement.value}</p>`;
}

// ---- the window ----

function watch_window() {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const show = (change) => (e) => {
    if (!transfer_has_files(e.dataTransfer)) return;
    e.preventDefault();
    depth = Math.max(0, depth + change);
    is_dropping.value = depth > 0;
  };
  addEventListener("dragenter", show(1));
  addEventListener("dragleave", show(-1));
  addEventListener("dragover", show(0));
  addEventListener("drop", (e) => {
    depth = 0;
    is_dropping.value = false;
    if (!transfer_has_files(e.dataTransfer)) return;
    e.preventDefault();
    app.pictures_add(files_of_transfer(e.dataTransfer));
    focus_composer();
  });
  addEventListener("paste", (e) => {
    const files = files_of_transfer(e.clipboardData);
    if (files.length === 0) return;
    e.preventDefault();
    app.pictures_add(files);
    focus_composer();
  });
  addEventListener("keydown", (e) => {
    if (e.key === "Escape" && !e.defaultPrevented && enlarged.value === null) app.stop();
  });
}

render(html`<${App} />`, document.getElementById("app"));
watch_window();
app.start();
