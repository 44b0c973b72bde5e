// Notify a user of the tenant, {"user_id"}, or all active ones of a role, {"role"}, with {"title", "kind"?, "body"?, "link"?}.
// Agents notify one user at a time; managers and admins also a role.
import "jsr:@supabase/functions-js/edge-runtime.d.ts";
import { problemOf } from "../_shared/problems.ts";
import { serve } from "../_shared/serve.ts";

const ROLES = ["admin", "manager", "agent", "viewer"] as const;

serve("send-notification", async (caller, input) => {
  const toUser = input.optional("user_id", 200);
  const toRole = input.given.role === undefined ? input.optional("role", 20) : input.choice("role", ROLES);
  const title = input.text("title", 200);
  const kind = input.optional("kind", 200) ?? "message";
  const body = input.optional("body", 20_000);
  const link = input.optional("link", 200);
  if (toUser === undefined && toRole === undefined) input.fail("user_id", "is missing; give it, or role");
  if (toUser !== undefined && toRole !== undefined) input.fail("role", "stands beside user_id; give one of them");
  input.check();
  const { data, error } = await caller.client.rpc("send_notification", { to_user: toUser, to_role: toRole, title, kind, body, link });
  if (error) throw problemOf(error, "notifications");
  return { status: 201, body: data };
});
