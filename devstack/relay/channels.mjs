// The channels of the Phoenix protocol, as Supabase Realtime speaks it: subscriptions to changes, broadcast, presence.
import { readable } from "./filters.mjs";
import { claimsOf } from "./tokens.mjs";

const MOST_BUFFERED = 64 * 1024 * 1024;
const LONGEST_TIMER = 2 ** 31 - 1;
let last = 0;
const next = () => ++last;

/** One client in one topic. */
class Channel {
  presence = null;
  #expiry;

  constructor(socket, topic, joined, config, claims) {
    this.socket = socket;
    this.topic = topic;
    this.joined = joined;
    // A binding's id must not be 0: the official client takes that for none.
    this.bindings = (config.postgres_changes ?? []).map((binding) => ({ ...binding, id: next() }));
    this.self = config.broadcast?.self === true;
    this.acknowledged = config.broadcast?.ack === true;
    this.reference = `F${next().toString(16)}`;
    this.key = config.presence?.key || this.reference;
    this.authorize(claims);
  }

  /** Speak for these claims from now on, until they expire. */
  authorize(claims) {
    this.claims = claims;
    clearTimeout(this.#expiry);
    if (!claims.exp) return;
    const left = claims.exp * 1000 - Date.now();
    if (left < LONGEST_TIMER) this.#expiry = setTimeout(() => this.expired?.(), Math.max(left, 0));
  }

  close() {
    clearTimeout(this.#expiry);
  }

  send(event, payload, ref = null) {
    this.socket.frame(this.topic, event, payload, ref);
  }

  system(extension, status, message) {
    this.send("system", { channel: this.topic.replace(/^realtime:/, ""), extension, message, status });
  }

  tell(ids, data) {
    this.send("postgres_changes", { ids, data });
  }
}

/** Every channel of every client. */
export class Channels {
  #changes;
  #all = new Set();

  constructor(changes) {
    this.#changes = changes;
  }

  /** Serve a client until it leaves. `key` is the API key that it connected with. */
  serve(socket, key) {
    const mine = new Map();
    socket.frame = (topic, event, payload, ref = null) => {
      if (socket.readyState !== socket.OPEN) return;
      // A client that does not read is cut off: it joins again and reads what it missed, and this process keeps its memory.
      if (socket.bufferedAmount > MOST_BUFFERED) socket.terminate();
      else socket.send(JSON.stringify({ ref, event, payload, topic }));
    };
    let turn = Promise.resolve();
    socket.on("message", (data) => {
      turn = turn.then(() => this.#take(socket, key, mine, JSON.parse(data))).catch(() => socket.close(1003));
    });
    socket.on("close", () => mine.forEach((channel) => this.#leave(mine, channel)));
    socket.on("error", () => socket.terminate());
  }

  async #take(socket, key, mine, message) {
    const [, ref, topic, event, payload] = Array.isArray(message) ? message : [null, message.ref, message.topic, message.event, message.payload];
    const reply = (status, response = {}) => socket.frame(topic, "phx_reply", { status, response }, ref ?? null);
    if (event === "heartbeat") return reply("ok");
    if (event === "phx_join") return this.#join(socket, key, mine, message, reply);
    const channel = mine.get(topic);
    if (!channel) return reply("error", { reason: "unmatched topic" });
    switch (event) {
      case "phx_leave":
        this.#leave(mine, channel);
        reply("ok");
        return channel.send("phx_close", {}, channel.joined);
      case "access_token":
        return this.#authorize(mine, channel, payload.access_token);
      case "broadcast":
        this.broadcast(topic, payload, channel.self ? null : channel);
        return channel.acknowledged && reply("ok");
      case "presence":
        this.#track(channel, payload);
        return reply("ok");
      default:
        return reply("ok");
    }
  }

  async #join(socket, key, mine, { topic, payload, join_ref: joined = null }, reply) {
    const config = payload.config ?? {};
    let claims;
    try {
      claims = await claimsOf(payload.access_token || key);
    } catch (error) {
      return reply("error", { reason: `InvalidJWTToken: ${error.message}` });
    }
    // Who may use a private channel is said by policies on realtime.messages, of which there are none here, as on a new hosted project.
    if (config.private) return reply("error", { reason: "Unauthorized: You do not have permissions to read from this Channel topic" });
    const wrong = (config.postgres_changes ?? []).find(({ filter }) => !readable(filter));
    if (wrong) return reply("error", { reason: `Error parsing \`filter\` params: ${wrong.filter}` });
    const before = mine.get(topic);
    if (before) this.#leave(mine, before);
    const channel = new Channel(socket, topic, joined, config, claims);
    channel.expired = () => this.#refuse(mine, channel, "Token has expired");
    mine.set(topic, channel);
    this.#all.add(channel);
    reply("ok", { postgres_changes: channel.bindings });
    channel.send("presence_state", this.#present(topic));
    if (!channel.bindings.length) return undefined;
    await this.#changes.join(channel);
    return channel.system("postgres_changes", "ok", "Subscribed to PostgreSQL");
  }

  async #authorize(mine, channel, token) {
    try {
      channel.authorize(await claimsOf(token));
    } catch (error) {
      this.#refuse(mine, channel, error.code === "ERR_JWT_EXPIRED" ? "Token has expired" : `InvalidJWTToken: ${error.message}`);
    }
  }

  #refuse(mine, channel, why) {
    channel.system("system", "error", why);
    channel.send("phx_close", {}, channel.joined);
    this.#leave(mine, channel);
  }

  #leave(mine, channel) {
    if (mine.get(channel.topic) === channel) mine.delete(channel.topic);
    channel.close();
    this.#all.delete(channel);
    this.#changes.leave(channel);
    if (channel.presence) this.#say(channel.topic, "presence_diff", { joins: {}, leaves: { [channel.key]: { metas: [channel.presence] } } });
  }

  #track(channel, { event, payload }) {
    const before = channel.presence;
    channel.presence = event === "track" ? { phx_ref: `${channel.reference}${next()}`, ...payload } : null;
    const side = (meta) => (meta ? { [channel.key]: { metas: [meta] } } : {});
    this.#say(channel.topic, "presence_diff", { joins: side(channel.presence), leaves: side(before) });
  }

  #present(topic) {
    const state = {};
    for (const other of this.#all) {
      if (other.topic === topic && other.presence) (state[other.key] ??= { metas: [] }).metas.push(other.presence);
    }
    return state;
  }

  #say(topic, event, payload, except = null) {
    for (const channel of this.#all) if (channel.topic === topic && channel !== except) channel.send(event, payload);
  }

  /** Tell everybody in a topic, but `except`. */
  broadcast(topic, payload, except = null) {
    this.#say(topic, "broadcast", payload, except);
  }

  /** Changes may have been missed: say so, so that who follows them reads again. */
  lost() {
    for (const channel of this.#all) {
      if (channel.bindings.length) channel.system("postgres_changes", "error", "The connection to the database was lost; changes may have been missed");
    }
  }
}
