// The bytes of stored files, on disk: streamed both ways, replaced whole, cut to ranges. lite's own adapter holds whole files in memory.
import { AsyncLocalStorage } from "node:async_hooks";
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** What a request asks of the bytes, which lite does not hand down: `range` goes in, `unsatisfiable` comes back. */
export const asked = new AsyncLocalStorage();

const RANGE = /^bytes=(\d+)-(\d*)$/;
const TYPES = new Map(Object.entries({
  ".css": "text/css", ".gif": "image/gif", ".html": "text/html", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".js": "application/javascript",
  ".json": "application/json", ".pdf": "application/pdf", ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain", ".webp": "image/webp",
  ".zip": "application/zip",
}));

const typeOf = (name) => TYPES.get(path.extname(name).toLowerCase()) ?? "application/octet-stream";

async function* digested(chunks, digest) {
  for await (const chunk of chunks) {
    digest.update(chunk);
    yield chunk;
  }
}

/** The first and the last byte that a request wants; undefined where the range begins behind the end. */
function cut(range, size) {
  const found = RANGE.exec(range ?? "");
  if (!found) return [0, size - 1];
  const first = Number(found[1]);
  const last = Math.min(found[2] ? Number(found[2]) : size - 1, size - 1);
  return first < size && first <= last ? [first, last] : undefined;
}

/** A storage adapter for lite. */
export class Blobs {
  driver = null;
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  // Names are hashed: an object may be called as a folder of another is, and no name leads out of the folder.
  #path(bucket, name) {
    return path.join(this.#folder, createHash("sha256").update(`${bucket}/${name}`).digest("hex"));
  }

  async #described(bucket, name) {
    const { mtime, mtimeMs, size } = await stat(this.#path(bucket, name));
    const eTag = `"${createHash("md5").update(`${bucket}/${name}:${mtimeMs}`).digest("hex")}"`;
    return { cacheControl: "no-cache", contentLength: size, size, mimetype: typeOf(name), lastModified: mtime, eTag };
  }

  async getObject(bucket, name) {
    const metadata = await this.#described(bucket, name);
    const { size } = metadata;
    const wish = asked.getStore() ?? {};
    const part = cut(wish.range, size);
    if (!part) {
      wish.unsatisfiable = true;
      throw new Error("the range begins behind the end");
    }
    const [start, end] = part;
    if (size === 0) return { httpStatusCode: 200, metadata, body: new Uint8Array() };
    if (wish.range) Object.assign(metadata, { contentLength: end - start + 1, contentRange: `bytes ${start}-${end}/${size}` });
    const body = Readable.toWeb(createReadStream(this.#path(bucket, name), { start, end }));
    return { httpStatusCode: wish.range ? 206 : 200, metadata, body };
  }

  async uploadObject(bucket, name, _version, body, mimetype, cacheControl) {
    await mkdir(this.#folder, { recursive: true });
    const arriving = path.join(this.#folder, `arriving-${randomUUID()}`);
    const digest = createHash("md5");
    try {
      const chunks = body instanceof Uint8Array ? [body] : Readable.fromWeb(body);
      await pipeline(digested(chunks, digest), createWriteStream(arriving));
      await rename(arriving, this.#path(bucket, name));
    } catch (error) {
      await rm(arriving, { force: true });
      throw error;
    }
    const { mtime, size } = await stat(this.#path(bucket, name));
    return { cacheControl, contentLength: size, size, mimetype, lastModified: mtime, eTag: `"${digest.digest("hex")}"` };
  }

  async deleteObject(bucket, name) {
    await rm(this.#path(bucket, name), { force: true });
  }

  async deleteObjects(bucket, names) {
    await Promise.all(names.map((name) => this.deleteObject(bucket, name)));
  }

  async copyObject(bucket, name, _version, toBucket, toName) {
    await copyFile(this.#path(bucket, name), this.#path(toBucket, toName));
    const { eTag, lastModified } = await this.#described(toBucket, toName);
    return { httpStatusCode: 200, eTag, lastModified };
  }

  async headObject(bucket, name) {
    return this.#described(bucket, name);
  }

  async privateAssetUrl(bucket, name) {
    return `file://${this.#path(bucket, name)}`;
  }
}
