// /auth/v1: lite's, and what it does otherwise than GoTrue put right.
import { enriched, subject } from "./claims.mjs";
import { invite } from "./invite.mjs";
import { administer, userOf, userRow } from "./users.mjs";

const ABOUT = { name: "GoTrue", version: "lite", description: "GoTrue is a user registration and authentication API" };

const again = (answer, body) => {
  const headers = new Headers(answer.headers);
  headers.delete("content-length");
  return new Response(body, { status: answer.status, headers });
};

const retyped = (request, given, type) => {
  const headers = new Headers(request.headers);
  headers.delete("content-length");
  return new Request(request.url, { method: "POST", headers, body: JSON.stringify({ ...given, type }) });
};

/** Hosted projects take the type "email" with the hash of any link that logs in or confirms; lite has a word for each. */
async function verified(request, lite) {
  const given = await request.clone().json().catch(() => ({}));
  if (!given.token_hash || given.type !== "email") return lite(request);
  const answer = await lite(retyped(request, given, "magiclink"));
  return answer.ok ? answer : lite(retyped(request, given, "signup"));
}

async function withClaims(answer) {
  const session = await answer.json();
  if (session?.access_token && session.user) session.access_token = await enriched(session.access_token, session.user);
  return again(answer, JSON.stringify(session));
}

async function withClaimsInFragment(answer) {
  const where = answer.headers.get("location") ?? "";
  const token = /access_token=([^&]+)/.exec(where)?.[1];
  const row = token && (await userRow(subject(token)));
  if (!row) return answer;
  const changed = again(answer, null);
  changed.headers.set("location", where.replace(token, await enriched(token, userOf(row))));
  return changed;
}

/** Answer a request under /auth/v1. */
export async function auth(request, url, lite, service) {
  if (url.pathname === "/auth/v1/health") return Response.json(ABOUT);
  if (url.pathname.startsWith("/auth/v1/admin/users")) return administer(request, url, service);
  if (url.pathname === "/auth/v1/invite") return invite(request, lite, service);
  const verifies = url.pathname === "/auth/v1/verify";
  const answer = await (verifies && request.method === "POST" ? verified(request, lite) : lite(request));
  if (verifies && answer.status === 303) return withClaimsInFragment(answer);
  const session = request.method === "POST" && answer.ok && answer.headers.get("content-type")?.includes("json");
  return session ? withClaims(answer) : answer;
}
