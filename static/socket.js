// The protocol side: one WebSocket that stays connected, JSON events both ways, pictures as binary frames.
//
//   takes   {type: "response.create" | "response.cancel", ...} and picture blobs
//   gives   on_event(event) for every server event, on_state(state) for the connection
//
// A picture: image.begin -> image.ready -> frames of 64 KiB -> image.stored (at once when the server knows its hash).
const FRAME_BYTES = 64 * 1024;
const HEADER_BYTES = 16; // version u8, kind u8, reserved u16, upload_id u32, offset u64, little-endian
const FRAME_VERSION = 1;
const KIND_IMAGE = 1;
const BUFFER_LIMIT_BYTES = 1024 * 1024;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 8000;

export class ProtocolError extends Error {
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.param = error.param;
  }
}

export class ConnectionLost extends Error {
  constructor() {
    super("The connection to the server was lost.");
    this.code = "connection_lost";
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function frame_header(upload_id, offset, n_bytes) {
  const frame = new Uint8Array(HEADER_BYTES + n_bytes);
  const view = new DataView(frame.buffer);
  view.setUint8(0, FRAME_VERSION);
  view.setUint8(1, KIND_IMAGE);
  view.setUint32(4, upload_id, true);
  view.setBigUint64(8, BigInt(offset), true);
  return frame;
}

export class Socket {
  constructor(url, { on_event, on_state }) {
    this.url = url;
    this.on_event = on_event;
    this.on_state = on_state;
    this.uploads = new Map(); // upload_id -> {resolve, reject, event_id}
    this.next_upload_id = 1;
    this.retry_ms = RETRY_MIN_MS;
    this.retry_timer = 0;
    this.ready = false; // session.created has come
    this.closed_for_good = false;
    addEventListener("online", () => this.retry_now());
    addEventListener("pagehide", () => this.ws?.close(1000));
    addEventListener("pageshow", (e) => e.persisted && this.retry_now());
  }

  connect() {
    clearTimeout(this.retry_timer);
    const ws = new WebSocket(this.url);
    ws.binaryType = "arraybuffer";
    ws.onmessage = (message) => this.receive(message);
    ws.onclose = (close) => this.lost(close);
    this.ws = ws;
  }

  retry_now() {
    if (this.ws === undefined || this.ws.readyState === WebSocket.CLOSED) this.connect();
  }

  receive(message) {
    if (typeof message.data !== "string") return;
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      console.warn("a server message is not JSON");
      return;
    }
    if (event.type === "session.created") {
      this.ready = true;
      this.retry_ms = RETRY_MIN_MS;
      this.on_state({ name: "open" });
    }
    if (!this.settle_upload(event)) this.on_event(event);
  }

  // Full jitter down to three quarters, so that the pages of a restarted server do not all come back in one moment.
  lost(close) {
    this.ready = false;
    const uploads = [...this.uploads.values()];
    this.uploads.clear();
    for (const upload of uploads) upload.reject(new ConnectionLost());
    const delay_ms = this.retry_ms * (0.75 + 0.25 * Math.random());
    this.retry_ms = Math.min(this.retry_ms * 2, RETRY_MAX_MS);
    this.retry_timer = setTimeout(() => this.connect(), delay_ms);
    this.on_state({ name: "lost", code: close.code, reason: close.reason, retry_at: Date.now() + delay_ms });
  }

  send(message) {
    if (!this.ready) throw new ConnectionLost();
    this.ws.send(JSON.stringify(message));
  }

  settle_upload(event) {
    if (event.type === "image.ready") {
      this.uploads.get(event.upload_id)?.ready();
      return true;
    }
    if (event.type === "image.stored") {
      this.uploads.get(event.upload_id)?.resolve(event);
      return true;
    }
    if (event.type === "error") {
      for (const [upload_id, upload] of this.uploads) {
        if (event.error?.event_id === upload.event_id || event.upload_id === upload_id) {
          upload.reject(new ProtocolError(event.error));
          return true;
        }
      }
    }
    return false;
  }

  // Resolves with image.stored; rejects with ProtocolError or ConnectionLost. on_progress(share from 0 to 1).
  async upload(blob, { sha256, on_progress }) {
    const upload_id = this.next_upload_id++;
    const event_id = `upload-${upload_id}`;
    let settled = false;
    let begin;
    const may_send = new Promise((resolve) => (begin = resolve));
    const stored = new Promise((resolve, reject) => {
      const settle = (how) => (value) => {
        settled = true;
        this.uploads.delete(upload_id);
        how(value);
        begin();
      };
      this.uploads.set(upload_id, { event_id, ready: begin, resolve: settle(resolve), reject: settle(reject) });
    });
    stored.catch(() => {}); // whoever awaits the upload sees it; this only keeps it from counting as unhandled before
    try {
      this.send({ type: "image.begin", event_id, upload_id, size_bytes: blob.size, mime: blob.type, sha256 });
    } catch (error) {
      this.uploads.get(upload_id).reject(error);
    }
    await may_send;
    if (!settled) await this.send_frames(upload_id, blob, () => settled, on_progress);
    return stored;
  }

  async send_frames(upload_id, blob, settled, on_progress) {
    const ws = this.ws;
    const step = FRAME_BYTES - HEADER_BYTES;
    const bytes = new Uint8Array(await blob.arrayBuffer());
    for (let offset = 0; offset < bytes.length && !settled(); offset += step) {
      while (ws.bufferedAmount > BUFFER_LIMIT_BYTES && !settled()) await pause(10);
      if (ws.readyState !== WebSocket.OPEN) return;
      const part = bytes.subarray(offset, offset + step);
      const frame = frame_header(upload_id, offset, part.length);
      frame.set(part, HEADER_BYTES);
      ws.send(frame);
      on_progress(Math.max(0, offset + part.length - ws.bufferedAmount) / bytes.length);
    }
    while (ws.bufferedAmount > 0 && !settled()) {
      on_progress(Math.max(0, bytes.length - ws.bufferedAmount) / bytes.length);
      await pause(30);
    }
  }
}
