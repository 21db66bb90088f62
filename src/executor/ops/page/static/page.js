"use strict";
// Shows what /events tells. Text goes in as text, never as markup.

const shown = new Map();
const health = document.getElementById("health");
const SILENT_MS = 40000;
const AGAIN_MS = 5000;
let heard = Date.now();
let called = "Executor";

function say(element, text, kind) {
  if (element.textContent !== text) element.textContent = text; // what is the same is not read out again
  element.className = [element.className.split(" ")[0] === "said" ? "said" : "", kind].filter(Boolean).join(" ");
}

function short(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// An average has more digits than anybody reads: two more than prices have.
function average(text, digits) {
  const [whole, rest] = text.split(".");
  return rest === undefined || rest.length <= digits + 2 ? short(text) : short(Number(text).toFixed(digits + 2));
}

function clock(instant) {
  return instant.slice(0, 19).replace("T", " ");
}

function make(symbol) {
  const section = document.getElementById("symbol").content.cloneNode(true).querySelector("section");
  const heading = section.querySelector("h2");
  heading.id = "h-" + symbol;
  heading.textContent = symbol;
  section.setAttribute("aria-labelledby", heading.id);
  section.dataset.symbol = symbol;
  section.querySelector(".exits").parentElement.setAttribute("aria-label", symbol + " exits");
  section.querySelector(".trades").parentElement.setAttribute("aria-label", symbol + " last trades");
  section.querySelector(".notes").setAttribute("aria-label", symbol + " what happened");
  document.getElementById("symbols").append(section);
  return { section, trades: [], price: new PriceChart(section.querySelector(".price")),
    equity: new EquityChart(section.querySelector(".equity")) };
}

function rows(table, lines, columns, nothing) {
  const body = table.tBodies[0];
  const text = JSON.stringify([lines, nothing]);
  if (body.dataset.shown === text) return;
  body.dataset.shown = text;
  const numeric = [...table.tHead.rows[0].cells].map((cell) => cell.classList.contains("n"));
  body.replaceChildren(...(lines.length ? lines : [[nothing]]).map((line) => {
    const row = document.createElement("tr");
    line.forEach((value, i) => {
      const cell = document.createElement(i === 0 && lines.length ? "th" : "td");
      if (cell.tagName === "TH") cell.scope = "row";
      cell.textContent = value ?? "-";
      if (!lines.length) { cell.colSpan = columns; cell.className = "none"; } else if (numeric[i]) cell.className = "n";
      row.append(cell);
    });
    return row;
  }));
}

function facts(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value, kind]) => {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    dd.className = kind ?? "";
    dd.dataset.fact = name;
    return [dt, dd];
  }));
}

function entries(status) {
  if (status.halted) return "entries halted: " + status.halted;
  if (status.paused) return "entries paused";
  if (status.recovering) return "looking up its orders";
  return status.cooldown_until ? "cooldown until " + clock(status.cooldown_until) : "entries allowed";
}

function headline(status) {
  const p = status.position;
  const trade = p === null ? "no trade is open" : `${p.side}, ${p.phase}, stop ${p.live_stop ?? "none"}`;
  return `${trade}; ${entries(status)}`;
}

function describe(status) {
  const p = status.position;
  const price = "Price " + (status.last_price === null ? "unknown" : short(status.last_price));
  return p === null ? price + ", no trade is open"
    : `${price}; entry ${p.entry_avg ?? p.planned_entry}, targets ${p.targets.join(", ") || "none"}, stop ${p.live_stop ?? "none"}`;
}

function showPosition(section, status, digits) {
  const p = status.position;
  const pairs = [["last price", status.last_price === null ? "-" : short(status.last_price)]];
  if (p !== null) {
    const bare = Number(p.unprotected) > 0;
    const r = p.price_r === null ? [] : [["price in R", p.price_r, Number(p.price_r) < 0 ? "bad" : "good"]];
    pairs.push(...r, ["entry", average(p.entry_avg ?? p.planned_entry, digits)], ["held", short(p.held)], ["covered", short(p.covered)],
      ["unprotected", bare ? short(p.unprotected) : "nothing", bare ? "bad" : "good"], ["stop", p.live_stop ?? "none"],
      ["planned stop", p.planned_stop], ...p.targets.map((target, i) => ["target " + (i + 1), target]),
      ["opened", clock(p.opened)]);
  }
  if (status.margin) {
    const m = status.margin;
    pairs.push(["account", m.account], ["margin level", m.level ?? "-"], ["liquidation", m.liquidation_price ?? "-"],
      ...m.debts.map((d) => ["owed " + d.asset, short(d.owed) + (Number(d.interest) ? `, interest ${short(d.interest)}` : "")]));
  }
  const profit = Number(status.pnl_today);
  pairs.push(["trades today", String(status.trades_today)],
    ["profit today", short(status.pnl_today), profit < 0 ? "bad" : profit > 0 ? "good" : ""],
    ["as of", status.at === null ? "-" : clock(status.at)]);
  facts(section.querySelector(".facts"), pairs);
  const live = p === null ? [] : p.orders.filter((o) => o.live);
  rows(section.querySelector(".exits"), live.map((o) => [o.role, o.stop_price, o.price, short(o.qty), short(o.filled), o.status,
    String(o.leg), o.type, o.id]), 9, p === null ? "no trade is open" : "none stands on the exchange");
}

function showTrades(seen, finished) {
  seen.trades = finished.trades;
  const digits = seen.price.precision;
  rows(seen.section.querySelector(".trades"), finished.trades.map((t) => [clock(t.closed), t.side, short(t.r), short(t.pnl), t.reason,
    short(t.qty), t.entry_avg && average(t.entry_avg, digits), t.exit_avg && average(t.exit_avg, digits), t.unprotected_sec]), 9,
  "no trade has finished");
  seen.section.querySelector(".profit").hidden = !finished.equity.length;
  seen.equity.show(finished.equity);
  const last = finished.equity.at(-1);
  seen.section.querySelector(".equity").setAttribute("aria-label",
    last ? `Profit after ${finished.equity.length} trades: ${short(last[1])}` : "No trade has finished");
}

function showNotes(list, notes) {
  const text = JSON.stringify(notes);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(...notes.map((note) => {
    const item = document.createElement("li");
    item.className = note.level;
    item.textContent = `${clock(new Date(note.at * 1000).toISOString())} ${note.event}: ${note.text}`;
    return item;
  }));
}

function draw(seen) {
  seen.price.plan(seen.last.status.position);
  seen.price.fills(seen.last.fills, seen.trades);
}

function show(frame) {
  heard = Date.now();
  called = [frame.account, "Executor"].filter(Boolean).join(" - ");
  const heading = document.querySelector("h1");
  if (heading.textContent !== called) heading.textContent = called;
  say(health, frame.health.ready ? "ready" : "not ready: " + (frame.health.faults.join("; ") || "being looked at"),
    frame.health.ready ? "good" : "bad");
  for (const s of frame.symbols) {
    if (!shown.has(s.symbol)) shown.set(s.symbol, make(s.symbol));
    const seen = shown.get(s.symbol);
    const bare = s.status.position !== null && Number(s.status.position.unprotected) > 0;
    say(seen.section.querySelector(".said"), headline(s.status), s.status.halted || bare ? "bad" : "");
    seen.price.points(s.points, frame.whole);
    showPosition(seen.section, s.status, seen.price.precision);
    if (s.finished !== null) showTrades(seen, s.finished);
    showNotes(seen.section.querySelector(".notes ol"), s.notes);
    seen.last = s;
    draw(seen);
    seen.section.querySelector(".price").setAttribute("aria-label", describe(s.status));
  }
  document.title = title(frame.health.ready ? "" : "not ready");
}

// For the browser's row of tabs: what is wrong first.
function title(wrong) {
  const open = [...shown.values()].map((seen) => seen.last.status).filter((status) => status.position !== null);
  const words = open.map(({ symbol, position: p }) => `${symbol} ${Number(p.unprotected) > 0 ? "UNPROTECTED" : p.side}`);
  return [...(wrong ? [wrong] : []), ...words, called].join(" - ");
}

function old(words) {
  say(health, words, "bad");
  document.title = title("not connected");
}

// A connection that breaks is made anew by the browser; one that is refused (a proxy whose service is away) is not.
function listen() {
  const source = new EventSource("events");
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.onerror = () => {
    const refused = source.readyState === EventSource.CLOSED;
    old(refused ? "not let in; trying again (reload the page to see why)" : "the connection is lost; trying again");
    if (refused) setTimeout(listen, AGAIN_MS);
  };
}

listen();
setInterval(() => {
  if (Date.now() - heard > SILENT_MS) old("nothing has been heard from the service: what is shown is old");
}, 5000);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const seen of shown.values()) {
    seen.price.paint();
    seen.equity.paint();
    draw(seen);
  }
});
