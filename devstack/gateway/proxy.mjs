// Requests handed on to another server of the stack: streamed both ways, over connections that are kept.
import http from "node:http";

/** Hands requests on to a port of the loopback. */
export class Proxy {
  #port;
  #agent = new http.Agent({ keepAlive: true, maxSockets: 256, scheduling: "lifo" });

  constructor(port) {
    this.#port = port;
  }

  /** Send the request to `path` with `headers`, and its answer back; `failed(response)` answers where nobody is there. */
  pass(request, response, path, headers, failed) {
    const upstream = http.request(
      { host: "127.0.0.1", port: this.#port, agent: this.#agent, method: request.method, path, headers },
      (answer) => {
        response.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
        answer.pipe(response);
        answer.on("error", () => response.destroy());
      },
    );
    upstream.on("error", () => (response.headersSent ? response.destroy() : failed(response)));
    response.on("close", () => response.writableFinished || upstream.destroy());
    const empty = request.method === "GET" || request.method === "HEAD";
    if (empty && !request.headers["content-length"] && !request.headers["transfer-encoding"]) upstream.end();
    else request.pipe(upstream);
  }
}
