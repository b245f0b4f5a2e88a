import type { Attachment, AttachmentKind } from "./chats/types";
import { newId } from "./ids";

/** Why a file cannot be attached. */
export class FileError extends Error {
  constructor(
    readonly reason: "unknown" | "large" | "broken",
    readonly fileName: string,
  ) {
    super(reason);
  }
}

export const MOST_MEDIA_BYTES = 20_000_000;
export const MOST_TEXT_BYTES = 1_000_000;
// Beyond this an image is drawn smaller: models see far less.
const SIDE_PIXELS = 2048;
const PLAIN_IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"]);
const PLAIN_AUDIO = new Set(["audio/wav", "audio/x-wav", "audio/wave", "audio/mpeg", "audio/mp3", "audio/flac", "audio/x-flac"]);
const SAMPLE_RATE = 16_000;

/**
 * A file made ready for a model: images in a format that the server reads, not larger than models see; audio as WAV.
 *
 * @throws FileError
 */
export async function prepare(file: File): Promise<{ attachment: Attachment; blob: Blob }> {
  const kind = await kindOf(file);
  const limit = kind === "text" ? MOST_TEXT_BYTES : MOST_MEDIA_BYTES;
  if (file.size > limit) throw new FileError("large", file.name);
  const blob = kind === "image" ? await readImage(file) : kind === "audio" ? await readAudio(file) : file;
  const name = file.name || kind;
  return { attachment: { id: newId(), kind, name, type: blob.type || file.type, size: blob.size }, blob };
}

async function kindOf(file: File): Promise<AttachmentKind> {
  if (file.type.startsWith("image/") && file.type !== "image/svg+xml") return "image";
  if (file.type.startsWith("audio/")) return "audio";
  if (file.size > MOST_MEDIA_BYTES) throw new FileError("large", file.name);
  // What is valid UTF-8 without control characters is a text, whatever its name says.
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!/[\0-\x08\x0e-\x1a]/.test(text)) return "text";
  } catch {
    // not UTF-8
  }
  throw new FileError("unknown", file.name);
}

async function readImage(file: File): Promise<Blob> {
  let image: ImageBitmap;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new FileError("broken", file.name);
  }
  const scale = Math.min(1, SIDE_PIXELS / Math.max(image.width, image.height));
  if (scale === 1 && PLAIN_IMAGES.has(file.type)) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const type = file.type === "image/jpeg" ? "image/jpeg" : "image/png";
  const drawn = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, type, 0.92));
  if (!drawn) throw new FileError("broken", file.name);
  return drawn;
}

async function readAudio(file: File): Promise<Blob> {
  if (PLAIN_AUDIO.has(file.type)) return file;
  try {
    const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
    const decoded = await context.decodeAudioData(await file.arrayBuffer());
    return wav(decoded.getChannelData(0), SAMPLE_RATE);
  } catch {
    throw new FileError("broken", file.name);
  }
}

/** Samples from -1 to 1 as a WAV file with 16 bits, one channel. */
export function wav(samples: Float32Array, rate: number): Blob {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at: number, value: string): void => {
    for (let i = 0; i < value.length; i += 1) view.setUint8(at + i, value.charCodeAt(i));
  };
  text(0, "RIFF");
  view.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((each, index) => {
    view.setInt16(44 + index * 2, Math.round(Math.max(-1, Math.min(1, each)) * 0x7fff), true);
  });
  return new Blob([view.buffer], { type: "audio/wav" });
}

/** Hand a file to the reader's disk. */
export function saveFile(name: string, blob: Blob): void {
  const url = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
