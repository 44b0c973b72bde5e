// /storage/v1: lite's, and what it answers otherwise than the Storage API put right.

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

/** Answer a request under /storage/v1. */
export async function storage(request, url, lite) {
  const path = url.pathname;
  if (request.method === "POST" && path.startsWith("/storage/v1/object/list/")) {
    const { prefix = "" } = await request.clone().json();
    const answer = await lite(request);
    return answer.ok ? again(answer, listed(await answer.json(), prefix)) : answer;
  }
  const answer = await lite(request);
  if (request.method !== "POST" || !answer.ok) return answer;
  if (path.startsWith("/storage/v1/object/upload/sign/")) return again(answer, upload(await answer.json()));
  if (path.startsWith("/storage/v1/object/sign/")) return again(answer, signed(await answer.json()));
  return answer;
}
