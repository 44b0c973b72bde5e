Deno.serve(() => {
  throw new Error("broken on purpose");
});
