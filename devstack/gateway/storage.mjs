// /storage/v1: lite's, and what it answers otherwise than the Storage API put right.
import { decodeJwt, jwtVerify } from "jose";
import { asked } from "./blobs.mjs";
import { settings } from "./settings.mjs";

const AUTHENTICATED = "/storage/v1/object/authenticated/";
const READ = /^\/storage\/v1\/object\/(?!info\/|list\/|upload\/)/;
const secret = new TextEncoder().encode(settings.secret);
const refused = (status, statusCode, error, message) => Response.json({ statusCode, error, message }, { status });

/** What is wrong with a token, undefined where nothing is. */
async function problem(token) {
  try {
    await jwtVerify(token, secret, { algorithms: ["HS256"] });
    return undefined;
  } catch (error) {
    return error.message;
  }
}

/** What refuses the token that an object is read by, the caller's or a signed URL's; undefined where it is good, or none is needed. */
async function refusal(request, url) {
  if (url.pathname.startsWith("/storage/v1/object/sign/")) {
    const wrong = await problem(url.searchParams.get("token") ?? "");
    return wrong && refused(400, "400", "InvalidJWT", wrong);
  }
  if (!url.pathname.startsWith(AUTHENTICATED)) return undefined;
  const wrong = await problem((request.headers.get("authorization") ?? "").replace(/^bearer /i, ""));
  return wrong && refused(400, "403", "Unauthorized", wrong);
}

/** An object read: whole or a range of it. */
async function read(request, url, lite) {
  const no = await refusal(request, url);
  if (no) return no;
  const { pathname: path } = url;
  const plain = new URL(url);
  if (path.startsWith(AUTHENTICATED)) plain.pathname = `/storage/v1/object/${path.slice(AUTHENTICATED.length)}`;
  const wish = { range: request.headers.get("range") };
  const answer = await asked.run(wish, () => lite(plain.pathname === path ? request : new Request(plain, request)));
  if (wish.unsatisfiable) return refused(400, "416", "The requested range is not satisfiable", "InvalidRange");
  // lite looks again, and says 500 where the token has run out in between.
  if (answer.status >= 500) return (await refusal(request, url)) ?? answer;
  return answer.headers.has("content-range") ? new Response(answer.body, { status: 206, headers: answer.headers }) : answer;
}

const again = (answer, body) => {
  const headers = new Headers(answer.headers);
  headers.delete("content-length");
  return Response.json(body, { status: answer.status, headers });
};

const short = (path) => path.replace(/^\/storage\/v1/, "");

function signed(answer) {
  if (Array.isArray(answer)) return answer.map(signed);
  if (!answer?.signedUrl) return answer;
  const { signedUrl, ...rest } = answer;
  return { ...rest, signedURL: short(signedUrl) };
}

const upload = ({ signedUrl, ...rest }) => (signedUrl ? { url: short(signedUrl), ...rest } : rest);

/** Names as they are below the prefix; a folder below it once, as an entry without an id. */
function listed(objects, prefix) {
  const start = prefix && !prefix.endsWith("/") ? `${prefix}/` : prefix;
  const folders = new Set();
  const found = [];
  for (const object of objects) {
    if (!object.name.startsWith(start)) {
      found.push(object);
      continue;
    }
    const name = object.name.slice(start.length);
    if (!name.includes("/")) {
      found.push({ ...object, name });
      continue;
    }
    const folder = name.split("/")[0];
    if (folders.has(folder)) continue;
    folders.add(folder);
    found.push({ name: folder, id: null, updated_at: null, created_at: null, last_accessed_at: null, metadata: null });
  }
  return found;
}

/** The official clients send a signed upload as a form; lite would keep the form itself. */
async function unwrapped(request) {
  if (!request.headers.get("content-type")?.startsWith("multipart/form-data")) return request;
  const file = [...(await request.formData()).values()].find((part) => part instanceof Blob);
  const headers = new Headers(request.headers);
  headers.delete("content-length");
  headers.set("content-type", file?.type || "application/octet-stream");
  return new Request(request.url, { method: request.method, headers, body: file ?? new Blob() });
}

const ROLES = new Set(["anon", "authenticated", "service_role"]);

/** Whether the caller's token names a role that is not a caller's: lite, a superuser, would become any. */
function misnamed(request) {
  try {
    return !ROLES.has(decodeJwt((request.headers.get("authorization") ?? "").replace(/^bearer /i, "")).role);
  } catch {
    return false;
  }
}

/** Answer a request under /storage/v1. */
export async function storage(request, url, lite) {
  const path = url.pathname;
  if (misnamed(request)) return refused(400, "403", "Unauthorized", "the token names no role of this project");
  if (request.method === "GET" && READ.test(path)) return read(request, url, lite);
  if (request.method === "POST" && path.startsWith("/storage/v1/object/list/")) {
    const { prefix = "" } = await request.clone().json();
    const answer = await lite(request);
    return answer.ok ? again(answer, listed(await answer.json(), prefix)) : answer;
  }
  const signedUpload = request.method === "PUT" && path.startsWith("/storage/v1/object/upload/sign/");
  const answer = await lite(signedUpload ? await unwrapped(request) : request);
  if (request.method !== "POST" || !answer.ok) return answer;
  if (path.startsWith("/storage/v1/object/upload/sign/")) return again(answer, upload(await answer.json()));
  if (path.startsWith("/storage/v1/object/sign/")) return again(answer, signed(await answer.json()));
  return answer;
}
