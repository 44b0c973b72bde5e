// Make one customer of several, all or nothing: {"winner": id, "losers": [ids]}. For managers and admins.
import "jsr:@supabase/functions-js/edge-runtime.d.ts";
import { problemOf } from "../_shared/problems.ts";
import { serve } from "../_shared/serve.ts";

const MOST = 100;

serve("merge-customers", async (caller, input) => {
  const winner = input.id("winner");
  const losers = input.ids("losers", MOST);
  if (losers.includes(winner)) input.fail("losers", "has the winner among them; leave it out");
  input.check();
  const { data, error } = await caller.client.rpc("merge_customers", { winner, losers });
  if (error) throw problemOf(error, "customers");
  return { body: data };
});
