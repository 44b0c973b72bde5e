// What the controller tells the relay, by its environment; read once.
const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start this by "interlock supabase start"`);
  return value;
};

export const settings = Object.freeze({
  port: Number(need("STACK_PORT")),
  database: need("STACK_DATABASE_URL"),
  secret: need("STACK_JWT_SECRET"),
  trusted: JSON.parse(process.env.STACK_TRUSTED ?? "[]"),
  anon: need("STACK_ANON_KEY"),
  service: need("STACK_SERVICE_KEY"),
});
