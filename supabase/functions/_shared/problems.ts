// What an edge function refuses with, in the shape of Interlock's own API: an error, its code, its status, and the fields at fault.

/** The error that a function answers with. `error` is what the official Python client shows, `message` what Interlock's clients do. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(message);
  }

  get body(): Record<string, unknown> {
    return { error: this.message, message: this.message, code: this.code, status: this.status, ...this.more };
  }
}

/** Bad input: what is wrong with each field, and how to mend it. */
export function invalid(errors: Record<string, string>): Problem {
  const message = Object.entries(errors).map(([field, text]) => `${field}: ${text}`).join("; ");
  return new Problem(400, "invalid", message, { errors });
}

export const unauthenticated = () => new Problem(401, "unauthenticated", "the token is not, or no longer, good; log in again");
export const forbidden = (what: string) => new Problem(403, "forbidden", what);
export const unavailable = (what: string) => new Problem(503, "unavailable", what);

/** An error of PostgREST, as its client gives it. */
export type DatabaseError = { code?: string; message: string; details?: string | null };

const parsed = (details?: string | null): Record<string, string> => {
  try {
    return JSON.parse(details ?? "{}");
  } catch {
    return {};
  }
};

/** The problem that an error of the database stands for. Its own text may hold values of other rows, so little of it is passed on. */
export function problemOf(error: DatabaseError, resource: string): Problem {
  const code = error.code ?? "";
  if (["PGRST301", "PGRST302", "PGRST303", "PT401"].includes(code)) return unauthenticated();
  if (code === "42501") return forbidden(`${resource}: the role may not do this`);
  if (code === "PT400") return invalid(parsed(error.details));
  if (code === "PT404") {
    const { id } = parsed(error.details);
    return new Problem(404, "not_found", `${resource}: no record ${id}`, { resource, id });
  }
  if (code === "PT422") return invalid({ operation_id: "was used for another request; mint a new one" });
  if (code === "23505") return new Problem(409, "duplicate", `${resource}: another record has this value`, { resource });
  if (code.startsWith("22") || code.startsWith("23")) return invalid({ request: `the database refuses a value of ${resource} (${code})` });
  if (["42883", "42P01", "PGRST202", "PGRST205"].includes(code)) {
    return new Problem(500, "misconfigured", "the project lacks a migration; bring it up: supabase db push");
  }
  console.error("database", code, error.message);
  return unavailable("the database did not answer, or not sensibly; try again");
}
