// Pictures: a file from the picker, a drop or the clipboard -> bytes that the server takes, and a thumbnail.
//
//   file -> sniff -> createImageBitmap (applies EXIF) -> within the limits? -> the file as it is
//                                                     -> otherwise redrawn: PNG stays PNG, photos become JPEG
// The server reads JPEG and PNG. A file that fits is sent byte for byte, so that its id (SHA-256) is the file's own.
const THUMBNAIL_PX = 320; // longer side
const JPEG_QUALITY = 0.9;
const HEAD_BYTES = 256 * 1024; // enough to meet the EXIF block of any camera
const SHRINK = 0.8; // a step when the bytes are still too many
const ALPHA_PROBE_PX = 64;

export class ImageError extends Error {}

const has = (bytes, at, text) => [...text].every((c, i) => bytes[at + i] === c.charCodeAt(0));

// What the bytes are, whatever the name says.
function sniff(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "jpeg";
  if (bytes[0] === 0x89 && has(bytes, 1, "PNG\r\n\x1a\n")) return "png";
  if (has(bytes, 0, "GIF8")) return "gif";
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP")) return "webp";
  if (has(bytes, 0, "BM")) return "bmp";
  if (has(bytes, 4, "ftyp")) {
    if (["heic", "heix", "hevc", "mif1", "msf1"].some((brand) => has(bytes, 8, brand))) return "heic";
    if (has(bytes, 8, "avif")) return "avif";
  }
  return "unknown";
}

// Tag 0x0112 of IFD0 in the APP1 block; 1 (upright) when there is none.
function exif_orientation(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    for (let at = 2; view.getUint8(at) === 0xff && view.getUint8(at + 1) !== 0xda; ) {
      const length = view.getUint16(at + 2);
      if (view.getUint8(at + 1) === 0xe1 && has(bytes, at + 4, "Exif\0\0")) {
        const tiff = at + 10;
        const little = view.getUint16(tiff) === 0x4949;
        const ifd = tiff + view.getUint32(tiff + 4, little);
        const n_entries = view.getUint16(ifd, little);
        for (let i = 0; i < n_entries; i++) {
          const entry = ifd + 2 + 12 * i;
          if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
        }
        return 1;
      }
      at += 2 + length;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a block cut short has no orientation
  }
  return 1;
}

function format_bytes(n) {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${(n / 1e3).toFixed(0)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

async function open_bitmap(file, kind) {
  try {
    return await createImageBitmap(file);
  } catch {
    if (kind === "heic") {
      throw new ImageError(`${file.name} is a HEIC picture, which this browser cannot open. Save it as JPEG or PNG.`);
    }
    if (kind === "unknown") throw new ImageError(`${file.name} is not a picture that this browser can open.`);
    throw new ImageError(`${file.name} is damaged: its ${kind.toUpperCase()} data cannot be decoded.`);
  }
}

function draw(bitmap, width, height, background) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (background) {
    context.fillStyle = background;
    context.fillRect(0, 0, width, height);
  }
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

function has_alpha(bitmap) {
  const canvas = draw(bitmap, ALPHA_PROBE_PX, ALPHA_PROBE_PX);
  const { data } = canvas.getContext("2d").getImageData(0, 0, ALPHA_PROBE_PX, ALPHA_PROBE_PX);
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

// Redraws within both limits; the pixel limit first, then steps down while the bytes are too many.
async function redraw(bitmap, type, limits) {
  const n_pixels = bitmap.width * bitmap.height;
  let scale = Math.min(1, Math.sqrt((limits.max_pixels ?? n_pixels) / n_pixels));
  for (;;) {
    const width = Math.max(1, Math.floor(bitmap.width * scale));
    const height = Math.max(1, Math.floor(bitmap.height * scale));
    const canvas = draw(bitmap, width, height, type === "image/jpeg" ? "#fff" : null);
    const blob = await canvas.convertToBlob({ type, quality: JPEG_QUALITY });
    if (blob.size <= (limits.max_image_bytes ?? Infinity) || width * height <= 64) return { blob, width, height };
    scale *= SHRINK;
  }
}

async function sha256_hex(blob) {
  if (!globalThis.crypto?.subtle) return undefined; // plain http from another host
  const digest = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// Returns {blob, sha256, width, height, note, thumb_url}; note tells what was changed. Throws ImageError.
export async function image_prepare(file, limits) {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const kind = sniff(head);
  const bitmap = await open_bitmap(file, kind);
  try {
    const { width, height } = bitmap;
    const fits =
      file.size <= (limits.max_image_bytes ?? Infinity) && width * height <= (limits.max_pixels ?? Infinity);
    const upright = kind === "png" || (kind === "jpeg" && exif_orientation(head) === 1);
    let made = { blob: file, width, height };
    let note = "";
    if (!fits || !upright) {
      const keeps_png = kind === "png" || (kind !== "jpeg" && has_alpha(bitmap));
      made = await redraw(bitmap, keeps_png ? "image/png" : "image/jpeg", limits);
      if (!fits) {
        note =
          `${width}×${height}, ${format_bytes(file.size)}: reduced to ${made.width}×${made.height}, ` +
          `${format_bytes(made.blob.size)} for this server`;
      }
    }
    const shrink = Math.min(1, THUMBNAIL_PX / Math.max(width, height));
    const thumb = draw(bitmap, Math.max(1, Math.round(width * shrink)), Math.max(1, Math.round(height * shrink)));
    const thumb_blob = await thumb.convertToBlob({ type: "image/png" });
    return { ...made, note, sha256: await sha256_hex(made.blob), thumb_url: URL.createObjectURL(thumb_blob) };
  } finally {
    bitmap.close();
  }
}

// The files of a drop or a paste that may be pictures. A pasted web page carries text too: only its files count.
export function files_of_transfer(transfer) {
  return [...(transfer?.files ?? [])];
}

export const transfer_has_files = (transfer) => [...(transfer?.types ?? [])].includes("Files");
