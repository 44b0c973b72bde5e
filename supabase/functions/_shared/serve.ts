// What every function does alike: CORS, the caller's token, the operation id, the input's form, and errors that tell no secret.
import { createClient, type SupabaseClient } from "jsr:@supabase/supabase-js@2";
import { Input } from "./input.ts";
import { forbidden, invalid, Problem, problemOf, unauthenticated } from "./problems.ts";

const LARGEST = 64 * 1024;
const OPERATION = /^[\x21-\x7e]{1,200}$/;
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "POST, OPTIONS",
  "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, idempotency-key, x-interlock-operation",
  "access-control-max-age": "86400",
};

export type Role = "admin" | "manager" | "agent" | "viewer" | "system";

/** Who calls, as the database's policies see them, and a client that acts as them. */
export interface Caller {
  tenant_id: string;
  user_id: string;
  role: Role;
  client: SupabaseClient;
}

export interface Reply {
  status?: number;
  body: unknown;
}

const need = (name: string): string => {
  const value = Deno.env.get(name);
  if (!value) throw new Error(`${name} is not set`);
  return value;
};

const options = (headers: Record<string, string>) => ({
  global: { headers },
  auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
});

/** A client with the project's service key, which no policy holds. Only for auth's administration. */
export const asService = (): SupabaseClient => createClient(need("SUPABASE_URL"), need("SUPABASE_SERVICE_ROLE_KEY"), options({}));

/** A client that is nobody. */
export const asNobody = (): SupabaseClient => createClient(need("SUPABASE_URL"), need("SUPABASE_ANON_KEY"), options({}));

async function fingerprint(name: string, given: Record<string, unknown>): Promise<string> {
  const sorted = Object.fromEntries(Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1)));
  const bytes = new TextEncoder().encode(JSON.stringify([name, sorted]));
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function given(request: Request): Promise<Record<string, unknown>> {
  if (Number(request.headers.get("content-length") ?? 0) > LARGEST) throw new Problem(413, "invalid", `the body is larger than ${LARGEST} bytes`);
  const text = await request.text();
  if (text.length > LARGEST) throw new Problem(413, "invalid", `the body is larger than ${LARGEST} bytes`);
  let body: unknown;
  try {
    body = JSON.parse(text || "{}");
  } catch {
    throw invalid({ body: "is not JSON" });
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw invalid({ body: "is no JSON object" });
  return body as Record<string, unknown>;
}

/** The caller, who is asked of the database: it checks the token's signature and age, and knows who was let go. */
async function callerOf(request: Request, name: string, body: Record<string, unknown>): Promise<Caller> {
  const authorization = request.headers.get("authorization") ?? "";
  if (!/^bearer \S+$/i.test(authorization)) throw unauthenticated();
  const operation = request.headers.get("x-interlock-operation") ?? request.headers.get("idempotency-key") ?? "";
  if (operation && !OPERATION.test(operation)) throw invalid({ operation_id: "is not 1 to 200 visible ASCII characters" });
  const headers: Record<string, string> = { Authorization: authorization };
  if (operation) {
    headers["x-interlock-operation"] = `${operation}/${name}`;
    headers["x-interlock-fingerprint"] = await fingerprint(name, body);
  }
  const client = createClient(need("SUPABASE_URL"), need("SUPABASE_ANON_KEY"), options(headers));
  const { data, error } = await client.rpc("interlock_caller");
  // The database refuses a token of nobody (the bare key) the function itself.
  if (error) throw error.code === "42501" ? unauthenticated() : problemOf(error, "users");
  if (!data?.tenant_id || !data.role) throw forbidden("the caller is no member of a tenant");
  return { ...data, client };
}

/** Serve a function: `act` gets a checked caller and the input, and answers or throws a `Problem`. */
export function serve(name: string, act: (caller: Caller, input: Input) => Promise<Reply>): void {
  Deno.serve(async (request: Request) => {
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: CORS });
    try {
      if (request.method !== "POST") throw new Problem(405, "unsupported", "this function is called by POST");
      const body = await given(request);
      const { status = 200, body: answer } = await act(await callerOf(request, name, body), new Input(body));
      return Response.json(answer, { status, headers: CORS });
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(500, "error", "the function failed; its log says why");
      if (!(error instanceof Problem)) console.error(name, error);
      return Response.json(problem.body, { status: problem.status, headers: CORS });
    }
  });
}
