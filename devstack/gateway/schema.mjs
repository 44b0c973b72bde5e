// The schemas `auth` and `storage`: lite's own tables, with the functions and the owners that they have on a hosted project.
import { readFile } from "node:fs/promises";
import { sql } from "./users.mjs";

/** Make them where they are not there yet: before the project's migrations, which put policies and triggers on them. */
export async function ensureSchemas(app) {
  const [{ made }] = await sql`select to_regclass('auth.users') is not null and to_regclass('storage.objects') is not null as made`;
  // lite's own statements would put its functions back in place of the hosted ones.
  if (made) return;
  await app.ensureSystemSchema();
  await sql.unsafe(await readFile(new URL("../sql/auth.sql", import.meta.url), "utf8"));
}
