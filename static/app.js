// The chat's state and what changes it. view.js draws this state; socket.js speaks to the server.
//
//   pictures   picked -> preparing -> uploading -> stored (or failed); the upload starts as soon as one is picked, so
//              that nothing is left to send when the question is
//   turns      a user message and its reply; a reply goes through the phases named in PHASES
import { computed, signal } from "./vendor/signals.mjs";
import { image_prepare, ImageError } from "./images.js";
import { ConnectionLost, Socket } from "./socket.js";

// A question about a picture has one answer: greedy, so that asking again does not change it.
const TEMPERATURE = 0;

// The first one is current when a reply is made; those from "done" on are final.
const PHASES = ["sending", "waiting", "writing", "done", "incomplete", "stopped", "failed", "lost"];
export const is_final = (phase) => PHASES.indexOf(phase) >= PHASES.indexOf("done");
// The server keeps these, so a follow-up can name them.
const is_kept = (phase) => phase === "done" || phase === "incomplete" || phase === "stopped";

export const connection = signal({ name: "connecting" }); // or open, or lost {retry_at, code, reason}
export const model = signal(null); // {id, modalities, image_tokens}
export const limits = signal({}); // {max_image_bytes, max_pixels, max_images, n_ctx, ...}
export const pictures = signal([]); // in the composer
export const messages = signal([]);
export const notice = signal(""); // what went wrong outside a reply
export const announcement = signal(""); // for screen readers
export const takes_images = computed(() => model.value === null || model.value.modalities.includes("image"));
export const active_reply = computed(() => {
  const last = messages.value.at(-1);
  return last?.role === "assistant" && !is_final(last.phase.value) ? last : null;
});

let next_id = 1;
const replies = new Map(); // stream id (the ask's event id) -> reply
let opened = null; // a promise of the next session.created, while someone waits for it

const when_open = () => {
  if (socket.ready) return Promise.resolve();
  opened ??= deferred();
  return opened.promise;
};

function deferred() {
  const d = {};
  d.promise = new Promise((resolve) => (d.resolve = resolve));
  return d;
}

// ---- pictures ----

function picture_create(file) {
  const picture = {
    id: next_id++,
    name: file.name || "pasted picture",
    file,
    made: null, // what image_prepare returned
    thumb_url: signal(""),
    state: signal({ name: "preparing" }),
    is_seen: signal(true), // false: the model no longer sees it, the conversation has outgrown the context
    removed: false,
  };
  picture.stored = picture_store(picture);
  picture.stored.catch(() => {}); // shown on the picture, and again by the reply that waits for it
  return picture;
}

// Resolves with the image id; waits out a lost connection.
async function picture_store(picture) {
  try {
    await when_open(); // the limits come with the session
    if (picture.made === null) {
      picture.made = await image_prepare(picture.file, limits.value);
      picture.thumb_url.value = picture.made.thumb_url;
    }
    for (;;) {
      await when_open();
      picture.state.value = { name: "uploading", share: 0 };
      try {
        const stored = await socket.upload(picture.made.blob, {
          sha256: picture.made.sha256,
          on_progress: (share) => (picture.state.value = { name: "uploading", share }),
        });
        picture.state.value = {
          name: "stored",
          image_id: stored.image_id,
          width: stored.width_px,
          height: stored.height_px,
          n_tokens: stored.n_tokens,
          note: picture.made.note,
        };
        return stored.image_id;
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
      }
    }
  } catch (error) {
    picture.state.value = { name: "failed", message: error.message };
    throw error;
  }
}

function picture_release(picture) {
  picture.removed = true;
  URL.revokeObjectURL(picture.thumb_url.value);
}

export function pictures_add(files) {
  notice.value = "";
  if (files.length === 0) return;
  if (!takes_images.value) {
    notice.value = `${model.value.id} reads text only: it takes no pictures.`;
    return;
  }
  const room = (limits.value.max_images ?? Infinity) - pictures.value.length;
  if (files.length > room) {
    const n = limits.value.max_images;
    notice.value = `This server takes up to ${n} picture${n === 1 ? "" : "s"} in a message; the others were left out.`;
  }
  const added = files.slice(0, Math.max(0, room)).map(picture_create);
  for (const picture of added) {
    picture.stored.catch((error) => {
      if (!(error instanceof ImageError) || picture.removed) return;
      picture_remove(picture); // it cannot become a picture: say so and take it out
      notice.value = error.message;
    });
  }
  pictures.value = [...pictures.value, ...added];
}

export function picture_remove(picture) {
  pictures.value = pictures.value.filter((p) => p !== picture);
  picture_release(picture);
}

// ---- asking ----

export function ask(text) {
  const taken = pictures.value.filter((p) => p.state.value.name !== "failed");
  if (active_reply.value !== null || (text === "" && taken.length === 0)) return false;
  notice.value = "";
  pictures.value = pictures.value.filter((p) => !taken.includes(p));
  const user = { id: next_id++, role: "user", text, pictures: taken };
  const reply = {
    id: next_id++,
    role: "assistant",
    user,
    text: signal(""),
    phase: signal(PHASES[0]),
    progress: signal(null), // the last response.progress
    error: signal(null), // {message, code}
    stats: signal(null),
    notices: signal([]), // response.notice events: what the text does not tell, such as a picture left out
  };
  messages.value = [...messages.value, user, reply];
  run(reply);
  return true;
}

export async function ask_sample(sample) {
  const response = await fetch(sample.url);
  if (!response.ok) {
    notice.value = `${sample.url}: the server answered ${response.status}.`;
    return;
  }
  const blob = await response.blob();
  pictures_add([new File([blob], sample.url.split("/").pop(), { type: blob.type })]);
  ask(sample.question);
}

const turn_content = (user, ids) => [
  ...user.pictures.map((picture) => ({ type: "input_image", image_id: ids.get(picture) })),
  ...(user.text === "" ? [] : [{ type: "input_text", text: user.text }]),
];

// The turns before this reply, oldest first, that have an answer.
function earlier_replies(reply) {
  const all = messages.value.filter((m) => m.role === "assistant");
  return all.slice(0, all.indexOf(reply)).filter((r) => r.text.value !== "" || is_kept(r.phase.value));
}

// What to send: the new turn with the id of the one before, or every turn where the server does not have them.
function request_input(reply, before, ids) {
  const input = [];
  for (const turn of before) {
    input.push({ type: "message", role: "user", content: turn_content(turn.user, ids) });
    if (turn.text.value === "") continue;
    input.push({ type: "message", role: "assistant", content: [{ type: "output_text", text: turn.text.value }] });
  }
  input.push({ type: "message", role: "user", content: turn_content(reply.user, ids) });
  return input;
}

async function run(reply) {
  Object.assign(reply, { sent: false, stop: false, response_id: undefined });
  reply.event_id = `ask-${reply.id}-${(reply.n_runs = (reply.n_runs ?? 0) + 1)}`;
  const { event_id } = reply;
  reply.text.value = "";
  reply.error.value = reply.stats.value = reply.progress.value = null;
  reply.notices.value = [];
  reply.phase.value = "sending";
  announcement.value = "Generating";
  try {
    const earlier = earlier_replies(reply);
    const last = earlier.at(-1);
    const named = last !== undefined && is_kept(last.phase.value) && !reply.send_all ? last.response_id : undefined;
    const before = named === undefined ? earlier : [];
    const ids = new Map();
    for (const picture of [...before, reply].flatMap((turn) => turn.user.pictures)) {
      ids.set(picture, await picture.stored);
    }
    await when_open();
    if (reply.event_id !== event_id || is_final(reply.phase.value)) return; // stopped, or asked anew
    socket.send({
      type: "response.create",
      event_id,
      stream_id: event_id,
      input: request_input(reply, before, ids),
      previous_response_id: named,
      temperature: TEMPERATURE,
    });
    replies.set(event_id, reply);
    reply.sent = true;
    reply.phase.value = "waiting";
  } catch (error) {
    if (reply.event_id === event_id && !is_final(reply.phase.value)) fail(reply, error);
  }
}

export function retry(reply) {
  for (const picture of reply.user.pictures) {
    if (picture.state.value.name === "failed") picture.stored = picture_store(picture);
  }
  run(reply);
}

export function stop() {
  const reply = active_reply.value;
  if (reply === null || reply.stop) return;
  reply.stop = true;
  if (!reply.sent) finish(reply, "stopped");
  else if (reply.response_id !== undefined) cancel(reply);
  // else: as soon as response.created names it
}

function cancel(reply) {
  try {
    socket.send({ type: "response.cancel", response_id: reply.response_id });
  } catch {
    finish(reply, "stopped"); // the connection went first, and the reply with it
  }
}

export function chat_clear() {
  stop();
  for (const message of messages.value) message.pictures?.forEach(picture_release);
  for (const picture of pictures.value) picture_release(picture);
  messages.value = [];
  pictures.value = [];
  notice.value = "";
  announcement.value = "New chat";
}

// ---- what the server says ----

function finish(reply, phase) {
  reply.phase.value = phase;
  const n_words = reply.text.value.split(/\s+/).filter(Boolean).length;
  const words = `${n_words} word${n_words === 1 ? "" : "s"}`;
  if (phase === "stopped") announcement.value = `Stopped after ${words}`;
  else if (phase === "done" || phase === "incomplete") announcement.value = `Reply complete, ${words}`;
  else announcement.value = "";
}

function fail(reply, error) {
  reply.error.value = { message: error.message ?? "The server gave no reason.", code: error.code };
  finish(reply, "failed");
}

// An error may only say that the server has forgotten something (a restart, an evicted picture): send that again, once.
function recover(reply, error) {
  if (error.code === "image_unknown" && !reply.sent_images_again) {
    reply.sent_images_again = true;
    for (const picture of messages.value.flatMap((m) => m.pictures ?? [])) picture.stored = picture_store(picture);
    run(reply);
    return true;
  }
  if (error.param === "previous_response_id" && !reply.send_all) {
    reply.send_all = true;
    run(reply);
    return true;
  }
  return false;
}

function on_progress(reply, event) {
  const before = reply.progress.value;
  if (event.stage === "encoding" && event.done > (before?.stage === "encoding" ? before.done : 0)) {
    announcement.value = `Image ${event.done} of ${event.total} encoded`;
  }
  reply.progress.value = event;
}

const handlers = {
  "response.created"(reply, event) {
    reply.response_id = event.response_id ?? event.response?.id;
    if (reply.stop) cancel(reply);
  },
  "response.progress": on_progress,
  "response.notice"(reply, event) {
    reply.notices.value = [...reply.notices.value, event];
    if (event.code !== "image_dropped") return;
    const earlier = messages.value.slice(0, messages.value.indexOf(reply.user));
    for (const picture of earlier.flatMap((m) => m.pictures ?? [])) {
      if (picture.state.value.image_id === event.image_id) picture.is_seen.value = false;
    }
  },
  "response.output_text.delta"(reply, event) {
    reply.text.value += event.delta;
    if (reply.phase.value === "waiting") reply.phase.value = "writing";
  },
  "response.stats"(reply, event) {
    reply.stats.value = event;
  },
  "response.completed": (reply) => finish(reply, "done"),
  "response.incomplete"(reply, event) {
    reply.incomplete_reason = event.response?.incomplete_details?.reason;
    finish(reply, "incomplete");
  },
  "response.cancelled": (reply) => finish(reply, "stopped"),
  "response.failed"(reply, event) {
    const error = event.response?.error ?? {};
    if (!recover(reply, error)) fail(reply, error);
  },
};

// A reply that was asked for again has a new stream id: events of the earlier try are nobody's.
function reply_of_event(event) {
  const reply = replies.get(event.stream_id);
  return reply?.event_id === event.stream_id ? reply : undefined;
}

function on_error(event) {
  const error = event.error ?? { message: "The server reported an error." };
  const active = active_reply.value;
  const about_reply = active?.sent && (error.event_id === active.event_id || event.stream_id === active.event_id);
  if (!about_reply) notice.value = error.message;
  else if (!recover(active, error)) fail(active, error);
}

function on_event(event) {
  if (event.type === "session.created") {
    limits.value = event.limits ?? {};
    model.value = event.models?.[0] ?? null;
    opened?.resolve();
    opened = null;
  } else if (event.type === "error") {
    on_error(event);
  } else if (Object.hasOwn(handlers, event.type)) {
    const reply = reply_of_event(event);
    const is_late = reply !== undefined && is_final(reply.phase.value) && event.type !== "response.stats";
    if (reply !== undefined && !is_late) handlers[event.type](reply, event);
  } // else: newer than this page
}

function on_state(state) {
  connection.value = state;
  const reply = active_reply.value;
  if (state.name === "lost" && reply?.sent) {
    reply.error.value = { message: "The connection was lost while this reply was being written.", code: "lost" };
    finish(reply, "lost");
  }
}

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new Socket(`${scheme}//${location.host}/ws`, { on_event, on_state });

export const start = () => socket.connect();
