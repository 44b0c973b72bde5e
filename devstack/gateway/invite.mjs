// The invitation of a user, /auth/v1/invite, which lite lacks: an account that is not confirmed yet, and a mail with a link.
import { administer } from "./users.mjs";

const posted = (request, path, body) => {
  const headers = new Headers(request.headers);
  headers.delete("content-length");
  headers.set("content-type", "application/json");
  return new Request(new URL(path, request.url), { method: "POST", headers, body: JSON.stringify(body) });
};

/** Answer an invitation; `service` says whether it came with the service key. */
export async function invite(request, lite, service) {
  const { email, data } = await request.json().catch(() => ({}));
  const asked = posted(request, "/auth/v1/admin/users", { email, user_metadata: data });
  const made = await administer(asked, new URL(asked.url), service);
  if (!made.ok) return made;
  const sent = await lite(posted(request, "/auth/v1/otp", { email, create_user: false }));
  return sent.ok ? made : sent;
}
