import http from "node:http";
http.createServer((q, r) => r.end("ok")).listen(Number(process.env.STACK_PORT), "127.0.0.1");
