// /rest/v1: the real PostgREST behind the check of the API key.
import { admitted, keyOf } from "./keys.mjs";
import { Proxy } from "./proxy.mjs";
import { settings } from "./settings.mjs";

const PREFIX = "/rest/v1";
const upstream = new Proxy(settings.rest);

const failed = (response) => {
  response.writeHead(503, { "content-type": "application/json; charset=utf-8" });
  response.end(JSON.stringify({ message: "name resolution failed" }));
};

/** Answer a request under /rest/v1. */
export function rest(request, response) {
  const key = request.headers.apikey ?? keyOf(request);
  if (!admitted(request, response, key)) return;
  const { apikey: _, ...headers } = request.headers;
  headers.authorization ??= `Bearer ${key}`;
  upstream.pass(request, response, request.url.slice(PREFIX.length) || "/", headers, failed);
}
