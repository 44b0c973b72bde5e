// Invite somebody into the caller's tenant: {"email", "display_name", "role"?}. For admins. Who is invited gets a mail with a link.
import "jsr:@supabase/functions-js/edge-runtime.d.ts";
import { Problem, problemOf, unavailable } from "../_shared/problems.ts";
import { asNobody, asService, type Caller, serve } from "../_shared/serve.ts";

const ROLES = ["admin", "manager", "agent", "viewer"] as const;
const COLUMNS = "id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, email, display_name, role, active, last_seen_at";

interface User {
  id: string;
  tenant_id: string;
  email: string;
  role: string;
}

/** The user's record, made as the caller: policies, triggers and the trail are the database's. */
async function record(caller: Caller, values: Record<string, string>): Promise<User> {
  const { data, error } = await caller.client.from("users").insert(values).select(COLUMNS).single<User>();
  if (!error) return data;
  if (error.code === "PT409") return JSON.parse(error.details).rows[0];
  if (error.code !== "23505") throw problemOf(error, "users");
  const literal = values.email.replace(/[\\%_*]/g, "\\$&");
  const there = await caller.client.from("users").select("id").ilike("email", literal).is("deleted_at", null).limit(1);
  const existing_id = there.data?.[0]?.id;
  throw new Problem(409, "duplicate", "users: another record has this email; use another value", { resource: "users", field: "email", existing_id });
}

/**
 * A mail with a link. A new account is the invited user's at once. One that is there already may be anybody's, another tenant's too:
 * it is left as it is, and the database joins it to the tenant once its address is confirmed and where it has no tenant yet.
 */
async function send(user: User): Promise<void> {
  const { auth } = asService();
  const invited = await auth.admin.inviteUserByEmail(user.email);
  if (!invited.error) {
    const app_metadata = { tenant_id: user.tenant_id, user_id: user.id, role: user.role };
    const { error } = await auth.admin.updateUserById(invited.data.user.id, { app_metadata });
    if (error) throw error;
    return;
  }
  if (invited.error.code !== "email_exists" && invited.error.code !== "user_already_exists") throw invited.error;
  const { error } = await asNobody().auth.signInWithOtp({ email: user.email, options: { shouldCreateUser: false } });
  if (error) throw error;
}

serve("invite-user", async (caller, input) => {
  const values = { email: input.address("email"), display_name: input.text("display_name", 200), role: input.choice("role", ROLES, "agent") };
  input.check();
  if (caller.role !== "admin" && caller.role !== "system") throw new Problem(403, "forbidden", "users: only an admin may invite");
  const user = await record(caller, values);
  try {
    await send(user);
  } catch (error) {
    console.error("invite-user", error);
    throw unavailable("the user is made, and the mail could not be sent; call again with the same operation id");
  }
  return { status: 201, body: { user } };
});
