import "jsr:@supabase/functions-js/edge-runtime.d.ts";
import { createClient } from "jsr:@supabase/supabase-js@2";

Deno.serve(async (request: Request) => {
  const { name } = await request.json();
  const options = { global: { headers: { Authorization: request.headers.get("Authorization")! } } };
  const client = createClient(Deno.env.get("SUPABASE_URL")!, Deno.env.get("SUPABASE_ANON_KEY")!, options);
  const { data } = await client.rpc("whoami");
  return Response.json({ message: `Hello ${name}!`, path: new URL(request.url).pathname, as: data });
});
