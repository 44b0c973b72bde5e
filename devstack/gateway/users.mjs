// The administration of users, /auth/v1/admin/users, which lite lacks: over its own tables.
import bcrypt from "bcryptjs";
import { randomUUID } from "node:crypto";
import postgres from "postgres";
import { settings } from "./settings.mjs";

// The cheapest that bcrypt has: these passwords guard test data, and a suite makes hundreds of users.
const COST = 4;
const FOREVER = /^none$/;

export const sql = postgres(settings.database, { max: 3, onnotice() {} });

/** A row of auth.users as GoTrue answers it. */
export const userOf = (row) => ({
  id: row.id,
  aud: "authenticated",
  role: "authenticated",
  email: row.email ?? "",
  phone: row.phone ?? "",
  email_confirmed_at: row.email_confirmed_at,
  confirmed_at: row.confirmed_at ?? row.email_confirmed_at,
  last_sign_in_at: row.last_sign_in_at,
  banned_until: row.banned_until ?? undefined,
  app_metadata: row.raw_app_meta_data ?? {},
  user_metadata: row.raw_user_meta_data ?? {},
  identities: [],
  created_at: row.created_at,
  updated_at: row.updated_at,
  is_anonymous: false,
});

const refused = (status, error_code, msg) => Response.json({ code: status, error_code, msg }, { status });

/** One user's row, undefined where there is none. */
export async function userRow(id) {
  if (!/^[0-9a-f-]{36}$/i.test(id)) return undefined;
  const [row] = await sql`select * from auth.users where id = ${id}`;
  return row;
}

async function list(url) {
  const size = Math.min(Number(url.searchParams.get("per_page")) || 50, 1000);
  const page = Math.max(Number(url.searchParams.get("page")) || 1, 1);
  const rows = await sql`select *, count(*) over () as total from auth.users order by created_at desc, id limit ${size} offset ${(page - 1) * size}`;
  const total = rows.length ? Number(rows[0].total) : 0;
  return Response.json({ users: rows.map(userOf), aud: "authenticated" }, { headers: { "x-total-count": String(total) } });
}

async function create(given) {
  const email = (given.email ?? "").toLowerCase();
  if (!email) return refused(400, "validation_failed", "Cannot create a user without either an email or phone");
  const taken = await sql`select 1 from auth.users where email = ${email}`;
  if (taken.length) return refused(422, "email_exists", "A user with this email address has already been registered");
  const id = given.id ?? randomUUID();
  await sql`
    insert into auth.users (id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
    values (${id}, 'authenticated', 'authenticated', ${email}, ${given.password ? await bcrypt.hash(given.password, COST) : ""},
      ${given.email_confirm ? new Date().toISOString() : null},
      ${sql.json({ provider: "email", providers: ["email"], ...given.app_metadata })},
      ${sql.json({ ...given.user_metadata, email_verified: Boolean(given.email_confirm) })})`;
  return Response.json(userOf(await userRow(id)));
}

async function change(id, given) {
  const columns = {};
  if (given.email) columns.email = given.email.toLowerCase();
  if (given.password) columns.encrypted_password = await bcrypt.hash(given.password, COST);
  if (given.email_confirm) columns.email_confirmed_at = new Date().toISOString();
  if (given.ban_duration) columns.banned_until = FOREVER.test(given.ban_duration) ? null : "infinity";
  await sql`
    update auth.users set
      raw_app_meta_data = jsonb_strip_nulls(coalesce(raw_app_meta_data, '{}') || ${sql.json(given.app_metadata ?? {})}),
      raw_user_meta_data = jsonb_strip_nulls(coalesce(raw_user_meta_data, '{}') || ${sql.json(given.user_metadata ?? {})}),
      updated_at = now()
    where id = ${id}`;
  if (Object.keys(columns).length) await sql`update auth.users set ${sql(columns)} where id = ${id}`;
  return Response.json(userOf(await userRow(id)));
}

/** Answer a call of the administration; `service` says whether it came with the service key. */
export async function administer(request, url, service) {
  if (!service) return refused(403, "not_admin", "User not allowed");
  const id = url.pathname.split("/")[5];
  if (!id) return request.method === "POST" ? create(await request.json()) : list(url);
  const row = await userRow(id);
  if (!row) return refused(404, "user_not_found", "User not found");
  if (request.method === "PUT") return change(id, await request.json());
  if (request.method === "DELETE") {
    await sql`delete from auth.users where id = ${id}`;
    return Response.json({});
  }
  return Response.json(userOf(row));
}
