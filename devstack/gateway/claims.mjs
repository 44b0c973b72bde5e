// Access tokens as hosted projects make them: lite's own say nothing of the user's metadata, which policies read.
import { SignJWT, decodeJwt } from "jose";
import { settings } from "./settings.mjs";

const secret = new TextEncoder().encode(settings.secret);

/** The token again, with the user's metadata in it. */
export async function enriched(token, user) {
  const claims = decodeJwt(token);
  return new SignJWT({
    iss: `${settings.site}/auth/v1`,
    ...claims,
    phone: user.phone ?? "",
    app_metadata: user.app_metadata ?? {},
    user_metadata: user.user_metadata ?? {},
    aal: "aal1",
    amr: [{ method: "password", timestamp: claims.iat }],
    is_anonymous: false,
  })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .sign(secret);
}

/** Whose token this is. */
export const subject = (token) => decodeJwt(token).sub;
