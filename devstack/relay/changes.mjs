// The changes of published tables: read from the database as they are committed, given to those who may see them.
import postgres from "postgres";
import { passes } from "./filters.mjs";
import { settings } from "./settings.mjs";

const CHANNEL = "_realtime";
const AWAIT_DATABASE = 0.25;
// JSON is given to the driver as text already.
const types = { jsonb: { to: 3802, from: [], serialize: String } };
const sql = postgres(settings.database, { max: 4, onnotice() {}, backoff: () => AWAIT_DATABASE, types });
// Numbers beyond what JavaScript can hold go through as they were written.
const exact = (_, value, { source }) => (typeof value === "number" && String(value) !== source ? JSON.rawJSON(source) : value);
const parse = (text) => (/\d{16}/.test(text) ? JSON.parse(text, exact) : JSON.parse(text));

/** Tells subscriptions what changed. A subscription has `claims`, `bindings` and `tell(ids, data)`. */
export class Changes {
  #subscriptions = new Set();
  #waiting = [];
  #work = Promise.resolve();
  #tables = new Map();
  #closed = false;
  #returning = false;
  #lost;

  /** `lost()` is called when the database was away: changes may have been missed. */
  constructor(lost) {
    this.#lost = lost;
  }

  /** Listen, from nothing. */
  async open() {
    await sql`truncate _realtime.subscribed, _realtime.statements`;
    let again = false;
    await sql.listen(CHANNEL, (id) => this.#heard(id), () => {
      if (again) this.#returns();
      again = true;
    });
    // Told after each change of the schema, for PostgREST.
    await sql.listen("pgrst", () => this.#tables.clear());
  }

  /** Take part; resolves when every later change will be told. */
  async join(subscription) {
    this.#subscriptions.add(subscription);
    await this.#follow(() => this.#note());
  }

  leave(subscription) {
    if (this.#subscriptions.delete(subscription)) this.#follow(() => this.#note());
  }

  /** One thing after another, so that what was committed first is told first. */
  #follow(step) {
    this.#work = this.#work.then(() => this.#closed || step()).catch((error) => console.error(error));
    return this.#work;
  }

  async #note() {
    const wanted = new Set();
    for (const { bindings } of this.#subscriptions) {
      for (const { schema = "public", table = "*" } of bindings) wanted.add(table === "*" || schema === "*" ? "*" : `${schema} ${table}`);
    }
    const names = JSON.stringify([...wanted].filter((name) => name !== "*").map((name) => name.split(" ")));
    await sql.begin(async (transaction) => {
      await transaction`delete from _realtime.subscribed`;
      await transaction`
        insert into _realtime.subscribed
        select c.oid from jsonb_array_elements(${names}::jsonb) w join pg_namespace n on n.nspname = w ->> 0
        join pg_class c on c.relnamespace = n.oid and c.relname = w ->> 1
        union select 0 where ${wanted.has("*")}`;
    });
  }

  /** The driver says for each channel, and sometimes twice, that it listens again: once is enough. */
  #returns() {
    if (this.#returning) return;
    this.#returning = true;
    this.#follow(async () => {
      await this.#note();
      this.#returning = false;
      this.#lost();
    });
  }

  #heard(id) {
    this.#waiting.push(id);
    if (this.#waiting.length === 1) this.#follow(() => this.#deliver());
  }

  async #deliver() {
    const ids = this.#waiting;
    this.#waiting = [];
    const rows = await sql`delete from _realtime.statements where id = any(${ids}::bigint[]) returning id::text, payload::text`;
    const found = new Map(rows.map((row) => [row.id, parse(row.payload)]));
    const events = [];
    for (const id of ids) {
      const statement = found.get(id);
      if (statement) events.push(...(await this.#events(statement)));
    }
    const seen = new Map();
    for (const subscription of this.#subscriptions) {
      await this.#tell(subscription, events, seen);
    }
  }

  async #events(statement) {
    const table = await this.#table(statement.relation);
    const key = (row) => Object.fromEntries(table.keys.map((name) => [name, row[name]]));
    return statement.rows.map((row) => ({ ...statement, row, table, key: key(row.new ?? row.old), oldKey: row.old && key(row.old) }));
  }

  async #tell(subscription, events, seen) {
    const wanted = events.map((event) => [event, subscription.bindings.filter((binding) => matches(binding, event)).map(({ id }) => id)]);
    const hits = wanted.filter(([, ids]) => ids.length);
    if (!hits.length) return;
    const visible = await this.#visible(subscription.claims, hits.map(([event]) => event), seen);
    for (const [event, ids] of hits) {
      // Who may see a deleted row can't be asked any more: as on a hosted project everybody is told its key, and nothing else.
      if (event.type === "DELETE" || visible.has(event)) subscription.tell(ids, dataOf(event, subscription.claims.role));
    }
  }

  /** The events whose rows these claims may read: asked of the database, as whom they name, once for each table. */
  async #visible(claims, events, seen) {
    if (claims.role === "service_role") return new Set(events);
    const visible = new Set();
    const byTable = Map.groupBy(events.filter(({ type, table }) => type !== "DELETE" && table.keys.length), ({ relation }) => relation);
    for (const [relation, group] of byTable) {
      const name = `${relation} ${JSON.stringify(claims)}`;
      const asked = seen.get(name) ?? new Map();
      seen.set(name, asked);
      const unknown = group.filter(({ key }) => !asked.has(JSON.stringify(key)));
      if (unknown.length) await this.#ask(claims, unknown, asked);
      for (const event of group) if (asked.get(JSON.stringify(event.key))) visible.add(event);
    }
    return visible;
  }

  async #ask(claims, events, asked) {
    const [{ table, schema }] = events;
    const { keys } = table;
    for (const { key } of events) asked.set(JSON.stringify(key), false);
    const columns = keys.map((key) => sql`t.${sql(key)}`).reduce((all, each) => sql`${all}, ${each}`);
    const theirs = keys.map((key) => sql`k.${sql(key)}`).reduce((all, each) => sql`${all}, ${each}`);
    const place = sql`${sql(schema)}.${sql(table.name)}`;
    const rows = JSON.stringify(events.map(({ key }, place) => ({ key, place })));
    try {
      const found = await sql.begin("read only", async (transaction) => {
        const whole = JSON.stringify(claims);
        await transaction`select set_config('request.jwt.claims', ${whole}, true), set_config('request.jwt.claim.sub', ${claims.sub ?? ""}, true),
          set_config('request.jwt.claim.role', ${claims.role}, true), set_config('role', ${claims.role}, true)`;
        return transaction`
          select (w ->> 'place')::int as found
          from jsonb_array_elements(${rows}::jsonb) w cross join lateral jsonb_populate_record(null::${place}, w -> 'key') k
          join ${place} t on (${columns}) = (${theirs})`;
      });
      for (const row of found) asked.set(JSON.stringify(events[row.found].key), true);
    } catch (error) {
      // A role without any right on the table sees none of its rows.
      if (error.code !== "42501") throw error;
    }
  }

  async #table(relation) {
    const known = this.#tables.get(relation);
    if (known) return known;
    const columns = await sql`
      select a.attname as name, t.typname as type, coalesce(a.attnum = any (i.indkey), false) as key,
        has_column_privilege('anon', a.attrelid, a.attnum, 'select') as anon,
        has_column_privilege('authenticated', a.attrelid, a.attnum, 'select') as authenticated, true as service_role
      from pg_attribute a join pg_type t on t.oid = a.atttypid
      left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
      where a.attrelid = ${relation}::bigint::oid and a.attnum > 0 and not a.attisdropped order by a.attnum`;
    const [{ relname }] = await sql`select relname from pg_class where oid = ${relation}::bigint::oid`;
    const table = { name: relname, columns, keys: columns.filter(({ key }) => key).map(({ name }) => name) };
    this.#tables.set(relation, table);
    return table;
  }

  async close() {
    this.#closed = true;
    await sql.end({ timeout: 1 });
  }
}

function matches({ event = "*", schema = "public", table = "*", filter }, change) {
  if (event !== "*" && event !== change.type) return false;
  if (schema !== "*" && schema !== change.schema) return false;
  if (table !== "*" && table !== change.table.name) return false;
  return passes(filter, change.type === "DELETE" ? change.oldKey : change.row.new);
}

/** What a role is told of a change: the columns that it may read; of the old row the key. */
function dataOf({ schema, type, at, table, row, oldKey }, role) {
  const columns = table.columns.filter((column) => column[role]);
  const data = { schema, table: table.name, commit_timestamp: at, type, errors: null, columns: columns.map(({ name, type: of }) => ({ name, type: of })) };
  if (type !== "DELETE") data.record = Object.fromEntries(columns.map(({ name }) => [name, row.new[name]]));
  if (type !== "INSERT") data.old_record = oldKey;
  return data;
}
