// The realtime relay: /realtime/v1/websocket and broadcasts by REST, behind the front door.
import http from "node:http";
import { WebSocketServer } from "ws";
import { Changes } from "./changes.mjs";
import { Channels } from "./channels.mjs";
import { settings } from "./settings.mjs";
import { isApiKey } from "./tokens.mjs";

const MOST_FRAME = 4 * 1024 * 1024;
const changes = new Changes(() => channels.lost());
const channels = new Channels(changes);
const sockets = new WebSocketServer({ noServer: true, maxPayload: MOST_FRAME });

const keyOf = (request, url) => request.headers.apikey ?? url.searchParams.get("apikey") ?? "";

async function body(request) {
  let text = "";
  for await (const part of request) text += part;
  return text ? JSON.parse(text) : {};
}

/** The messages of a broadcast by REST: many in its body, or one whose topic and event are in its path. */
function messagesOf(path, given) {
  const [, topic, event] = /^\/realtime\/v1\/api\/broadcast\/(.+)\/events\/([^/]+)$/.exec(path) ?? [];
  if (topic) return [{ topic: decodeURIComponent(topic), event: decodeURIComponent(event), payload: given }];
  return path === "/realtime/v1/api/broadcast" ? (given.messages ?? []) : undefined;
}

async function answer(request, response) {
  const url = new URL(request.url, "http://relay");
  if (url.pathname === "/realtime/v1/health") return response.end("ok");
  if (!isApiKey(keyOf(request, url))) return response.writeHead(401).end();
  if (request.method !== "POST") return response.writeHead(404).end();
  const messages = messagesOf(url.pathname, await body(request));
  if (!messages) return response.writeHead(404).end();
  for (const { topic, event, payload } of messages) channels.broadcast(`realtime:${topic}`, { type: "broadcast", event, payload });
  return response.writeHead(202).end();
}

const server = http.createServer((request, response) => {
  answer(request, response).catch(() => response.writeHead(400).end());
});

server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://relay");
  const key = keyOf(request, url);
  socket.on("error", () => undefined);
  if (url.pathname !== "/realtime/v1/websocket" || !isApiKey(key)) return socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  return sockets.handleUpgrade(request, socket, head, (opened) => channels.serve(opened, key));
});

await changes.open();
server.listen(settings.port, "127.0.0.1", () => console.log(`the relay listens on ${settings.port}`));

process.on("SIGTERM", async () => {
  for (const socket of sockets.clients) socket.terminate();
  server.close();
  await changes.close();
  process.exit(0);
});
