// The project's two keys, and what each becomes behind the front door.
import { settings } from "./settings.mjs";

const ROLES = new Map([
  [settings.anon, "anon"],
  [settings.service, "service_role"],
]);

/** The role of an API key, undefined where it is not one of ours. */
export const roleOf = (key) => ROLES.get(key);

/** The API key that a request brings, in its header or its query. */
export const keyOf = (request) =>
  request.headers.apikey ?? new URL(request.url, "http://front.door").searchParams.get("apikey") ?? undefined;

/** lite's own form of an API key. */
export const forLite = (key) => (roleOf(key) === "service_role" ? settings.opaque : settings.publishable);

/** Answer a refusal in the words of the hosted front door. */
export function refuse(response, status, message, hint) {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(JSON.stringify({ message, hint }));
}

/** Whether the request brings one of the project's keys; it is answered here where it doesn't. */
export function admitted(request, response, key) {
  if (request.method === "OPTIONS" || ROLES.has(key)) return true;
  if (key) refuse(response, 401, "Invalid API key", "Double check your Supabase `anon` or `service_role` API key.");
  else refuse(response, 401, "No API key found in request", "No `apikey` request header or url param was found.");
  return false;
}
