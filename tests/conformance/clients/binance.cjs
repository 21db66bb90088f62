// The npm package `binance`, with only its addresses changed: reads one order a line, does it, says what came of it.
"use strict";

const readline = require("readline");
const { MODULES, BASE, SOCKETS, KEY, SECRET } = process.env;
const { MainClient, WebsocketAPIClient, WebsocketClient, DefaultLogger } = require(MODULES + "/binance");

const quiet = { ...DefaultLogger, trace: () => {}, info: () => {}, error: (...said) => console.error(...said) };
const keys = { api_key: KEY, api_secret: SECRET };
const rest = new MainClient({ ...keys, baseUrl: BASE, strictParamValidation: true });
const api = new WebsocketAPIClient(
  { ...keys, wsUrl: SOCKETS, attachEventListeners: false, muteLatencyWarning: true }, quiet);
const streams = new WebsocketClient({ ...keys, wsUrl: SOCKETS }, quiet);

const heard = { user: [], market: [] };
const keep = (where) => (event) => { if (event && event.e) where.push(event); };
api.getWSClient().on("message", keep(heard.user));
api.getWSClient().on("exception", (error) => console.error("exception", error));
streams.on("message", (event) => keep(heard.market)(event && event.data ? event.data : event));
streams.on("exception", (error) => console.error("exception", error));

const does = {
  rest: (method, args) => rest[method](...args),
  // It wants the time from its caller, and with HMAC keys signs each request by itself.
  ws: (method, [params]) => api[method](typeof params === "string" ? params : { ...params, timestamp: Date.now() }),
  follow: (_, [topic]) => streams.subscribe([topic], "main"),
  heard: (kind) => heard[kind].splice(0),
  end: () => { api.getWSClient().closeAll(true); streams.closeAll(true); },
};

function plain(error) {
  if (error instanceof Error) return { message: error.message, stack: error.stack };
  return { code: error.code, message: error.message ?? String(error), body: error.body ?? error.error };
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { n, what, method, args } = JSON.parse(line);
  let answer;
  try {
    answer = { n, result: (await does[what](method, args)) ?? null };
  } catch (error) {
    answer = { n, error: plain(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
  if (what === "end") setTimeout(() => process.exit(0), 200);
});
