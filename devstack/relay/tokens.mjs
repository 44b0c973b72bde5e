// Whom a token speaks for.
import { createLocalJWKSet, jwtVerify } from "jose";
import { settings } from "./settings.mjs";

const secret = new TextEncoder().encode(settings.secret);
const trusted = createLocalJWKSet({ keys: settings.trusted });
const ROLES = new Set(["anon", "authenticated", "service_role"]);

/** The claims of a token that the project signed, or a key that it trusts; throws where it is not good, or no longer. */
export async function claimsOf(token) {
  const { payload } = await jwtVerify(token, (header, rest) => (header.alg === "HS256" ? secret : trusted(header, rest)), {
    algorithms: ["HS256", "ES256", "RS256"],
  });
  if (!ROLES.has(payload.role)) throw new Error("the token names no role of this project");
  return payload;
}

/** Whether this is one of the project's two API keys. */
export const isApiKey = (key) => key === settings.anon || key === settings.service;
