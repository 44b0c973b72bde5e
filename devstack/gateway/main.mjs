// The front door: one port for /rest/v1, /auth/v1, /storage/v1, /functions/v1 and /realtime/v1.
import { getRequestListener } from "@hono/node-server";
import { createApi } from "@supabase/lite/cli";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { auth } from "./auth.mjs";
import { Blobs } from "./blobs.mjs";
import { serve } from "./fast.mjs";
import { admitted, forLite, keyOf, roleOf } from "./keys.mjs";
import { Proxy } from "./proxy.mjs";
import { rest } from "./rest.mjs";
import { ensureSchemas } from "./schema.mjs";
import { settings } from "./settings.mjs";
import { storage } from "./storage.mjs";
import { sql } from "./users.mjs";

const api = await createApi({ withSupabaseClient: false });
// lite takes the path of its configuration from the folder that it runs in. Unless told, it takes every caller from the loopback for the project's owner.
const config = fileURLToPath(new URL("../lite.config.mjs", import.meta.url));
const app = await api.project.local.createApp(path.relative(process.cwd(), config), { admin: false });
app._storageAdapter = new Blobs(path.join(process.cwd(), "supabase", ".temp", "storage"));
await ensureSchemas(app);

/** The request as lite knows it: its own form of the key, and no bearer that is only the key again. */
function forLiteOf(request, key) {
  const headers = new Headers(request.headers);
  headers.set("apikey", forLite(key));
  const bearer = /^bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  if (bearer && roleOf(bearer)) headers.set("authorization", `Bearer ${forLite(bearer)}`);
  return new Request(request, { headers });
}

const lite = getRequestListener(async (request, environment) => {
  const url = new URL(request.url);
  const key = environment.incoming.stackKey;
  const peerAddress = environment.incoming.socket.remoteAddress ?? null;
  const next = async (asked) => {
    const passed = forLiteOf(asked, key);
    const answer = await app.fetch(passed, { peerAddress });
    // A refused upload is read to its end, as hosted front doors do: broken off, its sender would never see the answer.
    if (!answer.ok && passed.body && !passed.body.locked) for await (const _ of passed.body);
    return answer;
  };
  if (url.pathname.startsWith("/auth/v1/")) return auth(request, url, next, roleOf(key) === "service_role");
  return storage(request, url, next);
});

// Links in mails, public files and signed URLs are opened by browsers, which have no key.
const OPEN = /^\/(auth\/v1\/(verify|health|authorize|callback|\.well-known\/)|storage\/v1\/object\/(public|sign|upload\/sign)\/)/;

const functions = new Proxy(settings.functions);
const relay = new Proxy(settings.relay);
const absent = (response) => response.writeHead(503, { "content-type": "application/json", "x-relay-error": "true" }).end('{"message":"this part of the stack is stopped"}');

const server = http.createServer((request, response) => {
  const asked = request.url;
  if (asked.startsWith("/rest/v1")) return rest(request, response);
  if (asked.startsWith("/functions/v1/")) return functions.pass(request, response, asked, request.headers, absent);
  if (asked.startsWith("/realtime/v1/")) return relay.pass(request, response, asked, request.headers, absent);
  if (!asked.startsWith("/auth/v1/") && !asked.startsWith("/storage/v1/")) return response.writeHead(404).end();
  const key = keyOf(request);
  if (!OPEN.test(asked) && !admitted(request, response, key)) return undefined;
  request.stackKey = key;
  return lite(request, response);
});

// The socket itself is handed on: the relay speaks WebSocket, and this process only joins the two.
server.on("upgrade", (request, socket, head) => {
  socket.on("error", () => undefined);
  if (!request.url.startsWith("/realtime/v1/websocket")) return socket.destroy();
  const upstream = net.connect(settings.relay, "127.0.0.1", () => {
    const headers = request.rawHeaders.reduce((text, part, i) => text + part + (i % 2 ? "\r\n" : ": "), "");
    upstream.write(`GET ${request.url} HTTP/1.1\r\n${headers}\r\n`);
    upstream.write(head);
    socket.pipe(upstream).pipe(socket);
  });
  upstream.on("error", () => socket.destroy());
  socket.on("close", () => upstream.destroy());
  return undefined;
});

server.keepAliveTimeout = 60_000;
const door = net.createServer((socket) => serve(socket, (taken) => server.emit("connection", taken)));
door.listen(settings.port, "127.0.0.1", () => console.log(`the front door listens on ${settings.port}`));

process.on("SIGTERM", async () => {
  door.close();
  server.closeAllConnections();
  await sql.end({ timeout: 1 });
  process.exit(0);
});
