// Serves the edge functions of a project, functions/<name>/index.ts, on one port: each file's own handler, caught as the file gives it to Deno.serve.
type Handler = (request: Request) => Response | Promise<Response>;

const PREFIX = "/functions/v1";
const root = new URL(`file://${Deno.env.get("STACK_FUNCTIONS")}/`);
const listen = Deno.serve;
const loaded = new Map<string, Promise<Handler | undefined>>();
let turn: Promise<unknown> = Promise.resolve();

const missing = () => Response.json({ code: "NOT_FOUND", message: "Requested function was not found" }, { status: 404 });

async function exists(name: string): Promise<boolean> {
  if (!/^[A-Za-z][\w-]*$/.test(name)) return false;
  try {
    return (await Deno.stat(new URL(`${name}/index.ts`, root))).isFile;
  } catch {
    return false;
  }
}

async function load(name: string): Promise<Handler | undefined> {
  let caught: Handler | undefined;
  const instead = (first: unknown, second?: unknown) => {
    caught = [first, second, (first as { handler?: unknown })?.handler].find((each) => typeof each === "function") as Handler;
    return { finished: Promise.resolve(), shutdown: () => Promise.resolve() };
  };
  Object.assign(Deno, { serve: instead });
  try {
    await import(new URL(`${name}/index.ts`, root).href);
  } finally {
    Object.assign(Deno, { serve: listen });
  }
  return caught;
}

/** The handler of a function. Files are imported one at a time, so that each is given its own handler and no other's. */
function handlerOf(name: string): Promise<Handler | undefined> {
  const known = loaded.get(name);
  if (known) return known;
  const found = turn.then(() => load(name));
  turn = found.catch(() => undefined);
  loaded.set(name, found);
  found.catch(() => loaded.delete(name));
  return found;
}

listen({ port: Number(Deno.env.get("STACK_PORT")), hostname: "127.0.0.1", onListen: () => console.log("functions are served") }, async (request) => {
  const url = new URL(request.url);
  const path = url.pathname.slice(PREFIX.length);
  const name = path.split("/")[1] ?? "";
  if (name === "_health") return new Response("ok");
  if (!(await exists(name))) return missing();
  try {
    const handler = await handlerOf(name);
    if (!handler) return missing();
    // A hosted function sees /<name>/… and not where the front door keeps it.
    url.pathname = path;
    return await handler(new Request(url, request));
  } catch (error) {
    console.error(name, error);
    return Response.json({ code: "WORKER_ERROR", message: String(error) }, { status: 500 });
  }
});
