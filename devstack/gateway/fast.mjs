// The short way to PostgREST: a client's connection joined to one of its own there, and the answers' bytes handed back as they come.
//
// Node's own HTTP, twice on the way, costs more than the hand-over itself. Only the heads of requests are read here, to check the key and to find
// where the next one begins. A connection on which anything but a plain request under /rest/v1 is sent is given to the ordinary server, for good.
import net from "node:net";
import { roleOf } from "./keys.mjs";
import { settings } from "./settings.mjs";

const END = Buffer.from("\r\n\r\n");
const PLAIN = /^(GET|HEAD|POST|PATCH|PUT|DELETE) \/rest\/v1(\/?[^ ]*) HTTP\/1\.1\r\n/;
const ODD = /\r\n[ \t]|\r\n(transfer-encoding|expect|upgrade):|\r\ncontent-length:(?! ?\d+(\r\n|$))/i;
const TWICE = /\r\n(content-length|apikey|authorization|host):[^]*\r\n\1:/i;
const KEY = /\r\napikey: ?([^\r\n]*)/i;
const AUTHORIZED = /\r\nauthorization:/i;
const LENGTH = /\r\ncontent-length: ?(\d+)(?=\r\n|$)/i;
const MOST_HEAD = 64 * 1024;
const AWAY = '{"message":"name resolution failed"}';

/** Serve a client's connection the short way; `ordinary(socket)` takes it over where that can't be. */
export function serve(client, ordinary) {
  let upstream;
  let held = Buffer.alloc(0);
  let body = 0;
  let awaited = false;

  const away = () => {
    if (awaited) client.write(`HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${AWAY.length}\r\nconnection: close\r\n\r\n${AWAY}`);
    client.end();
  };

  const joined = () => {
    if (upstream) return upstream;
    upstream = net.connect({ port: settings.rest, host: "127.0.0.1", noDelay: true });
    upstream.on("data", (data) => {
      awaited = false;
      if (client.write(data)) return;
      upstream.pause();
      client.once("drain", () => upstream.resume());
    });
    upstream.on("error", () => undefined);
    upstream.on("close", away);
    return upstream;
  };

  const give = (data) => {
    if (joined().write(data)) return;
    client.pause();
    upstream.once("drain", () => client.resume());
  };

  const leave = () => {
    client.removeListener("data", take);
    client.removeListener("close", gone);
    upstream?.removeListener("close", away);
    upstream?.destroy();
    // The ordinary server reads from the start of the request that it is given.
    client.pause();
    if (held.length) client.unshift(held);
    ordinary(client);
    client.resume();
  };

  /** Hand on the request whose head ends at `end`; false where it is none for here. */
  const pass = (end) => {
    const head = held.latin1Slice(0, end);
    const line = PLAIN.exec(head);
    const key = KEY.exec(head)?.[1].trim();
    if (!line || !roleOf(key) || ODD.test(head) || TWICE.test(head)) return false;
    const length = LENGTH.exec(head)?.[1];
    const path = line[2].startsWith("/") ? line[2] : `/${line[2]}`;
    const bearer = AUTHORIZED.test(head) ? "" : `\r\nauthorization: Bearer ${key}`;
    const rest = head.slice(line[0].length - 2);
    body = Number(length ?? 0);
    awaited = true;
    give(Buffer.from(`${line[1]} ${path} HTTP/1.1${rest}${bearer}\r\n\r\n`, "latin1"));
    held = held.subarray(end + END.length);
    return true;
  };

  const take = (data) => {
    if (body && !held.length) {
      // The rest of a body: never held, handed on as it comes.
      const part = data.subarray(0, body);
      body -= part.length;
      give(part);
      if (part.length === data.length) return;
      data = data.subarray(part.length);
    }
    held = held.length ? Buffer.concat([held, data]) : data;
    for (;;) {
      if (body) {
        const part = held.subarray(0, body);
        body -= part.length;
        held = held.subarray(part.length);
        if (part.length) give(part);
        if (body) return;
      }
      if (!held.length) return;
      const end = held.indexOf(END);
      if (end < 0 && held.length < MOST_HEAD) return;
      if (end < 0 || !pass(end)) return leave();
    }
  };

  const gone = () => upstream?.destroy();
  client.on("data", take);
  client.on("close", gone);
  client.on("error", () => client.destroy());
  client.setNoDelay(true);
}
