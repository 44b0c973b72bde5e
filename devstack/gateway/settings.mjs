// What the controller tells the front door, by its environment; read once.
const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start this by "interlock supabase start"`);
  return value;
};

const port = Number(need("STACK_PORT"));
export const settings = Object.freeze({
  port,
  site: process.env.STACK_SITE ?? `http://127.0.0.1:${port}`,
  database: need("STACK_DATABASE_URL"),
  secret: need("STACK_JWT_SECRET"),
  anon: need("STACK_ANON_KEY"),
  service: need("STACK_SERVICE_KEY"),
  // lite knows its keys in the opaque form only; they never leave this process and its parent.
  publishable: need("STACK_LITE_PUBLISHABLE_KEY"),
  opaque: need("STACK_LITE_SECRET_KEY"),
  mails: need("STACK_MAILS"),
  rest: Number(need("STACK_REST_PORT")),
  relay: Number(need("STACK_RELAY_PORT")),
  functions: Number(need("STACK_FUNCTIONS_PORT")),
});
