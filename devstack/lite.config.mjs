// How @supabase/lite is run: on our PostgreSQL, for auth and storage only.
import { createPostgresConnection } from "@supabase/lite/postgres";
import { appendFileSync } from "node:fs";
import { settings } from "./gateway/settings.mjs";

// PostgreSQL's own text of a time is not ISO 8601, which every client's parser demands.
const iso = (text) => text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
const same = (value) => value;
// lite hands metadata over already as text; made text twice, it would land as a JSON string and not as an object.
const json = (value) => (typeof value === "string" && /^\s*[\[{]/.test(value) ? value : JSON.stringify(value));

const connection = createPostgresConnection({
  url: settings.database,
  postgresOptions: {
    onnotice() {},
    max: 10,
    types: {
      json: { to: 114, from: [114], serialize: json, parse: JSON.parse },
      jsonb: { to: 3802, from: [3802], serialize: json, parse: JSON.parse },
      timestamptz: { to: 1184, from: [1184], serialize: same, parse: iso },
      timestamp: { to: 1114, from: [1114], serialize: same, parse: iso },
      numeric: { to: 1700, from: [1700], serialize: String, parse: Number },
    },
  },
});
// lite would grant everything in every schema, `app` too, to every role: the migrations' own grants would be gone.
connection.ensureRlsContext = async () => true;

export default {
  api: { port: settings.port, max_rows: 1000, schemas: ["public"] },
  connection,
  auth: {
    enabled: true,
    site_url: settings.site,
    jwt_secret: settings.secret,
    jwt_expiry: 3600,
    enable_signup: true,
    publishable_key: settings.publishable,
    secret_key: settings.opaque,
    // As supabase/config.toml has it: who signs up with somebody's address must not be them before the address says so.
    email: { enable_confirmations: true },
  },
  storage: { enabled: true, file_size_limit: "50MiB" },
  options: {
    drivers: {
      email: {
        async send(mail) {
          appendFileSync(settings.mails, JSON.stringify({ at: new Date(), ...mail }) + "\n", { mode: 0o600 });
        },
      },
    },
  },
};
