"use strict";
// The price with what is planned and what has happened on it, and the line of profit. Numbers are for drawing only;
// what is read as text comes as the service wrote it.

const PLANNED = 2; // dashed
const STEPS = 1;
const FEW = 240;
const NAMES_WIDE = 84; // pixels, in which the lines have their names: nothing is drawn below them

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), soft: of("--soft"), line: of("--line"), card: of("--card"), good: of("--good"),
    bad: of("--bad"), warn: of("--warn"), accent: of("--accent") };
}

function look(c) {
  return {
    autoSize: true,
    layout: { background: { color: c.card }, textColor: c.soft, attributionLogo: false },
    grid: { vertLines: { color: c.line }, horzLines: { color: c.line } },
    rightPriceScale: { borderColor: c.line },
    timeScale: { borderColor: c.line, timeVisible: true, secondsVisible: true },
  };
}

function decimals(text) {
  const rest = text.includes(".") ? text.replace(/0+$/, "").split(".")[1] : "";
  return Math.max(2, rest.length);
}

class PriceChart {
  constructor(place) {
    const c = colours();
    this.chart = LightweightCharts.createChart(place, look(c));
    this.chart.timeScale().applyOptions({ rightOffsetPixels: NAMES_WIDE });
    this.price = this.chart.addSeries(LightweightCharts.LineSeries, { color: c.accent, lineWidth: 2 });
    this.stop = this.chart.addSeries(LightweightCharts.LineSeries,
      { color: c.bad, lineWidth: 2, lineType: STEPS, priceLineVisible: false, title: "stop" });
    this.markers = LightweightCharts.createSeriesMarkers(this.price, []);
    this.lines = [];
    this.drawn = "";
    this.marked = "";
    this.last = 0;
    this.count = 0;
    this.precision = 0;
  }

  points(points, whole) {
    const fresh = whole ? points : points.filter((p) => p[0] >= this.last);
    const prices = fresh.map((p) => ({ time: p[0], value: Number(p[1]) }));
    const stops = fresh.map((p) => (p[2] === null ? { time: p[0] } : { time: p[0], value: Number(p[2]) }));
    if (fresh.length) {
      const precision = Math.max(...fresh.map((p) => decimals(p[1])));
      const priceFormat = { type: "price", precision, minMove: 1 / 10 ** precision };
      if (precision > this.precision) {
        this.precision = precision;
        this.price.applyOptions({ priceFormat });
        this.stop.applyOptions({ priceFormat });
      }
      this.last = fresh[fresh.length - 1][0];
    }
    if (whole) {
      this.price.setData(prices);
      this.stop.setData(stops);
      this.count = fresh.length;
      this.chart.timeScale().fitContent();
    } else {
      prices.forEach((p) => this.price.update(p));
      stops.forEach((p) => this.stop.update(p));
      this.count += fresh.length;
      if (this.count < FEW) this.chart.timeScale().fitContent(); // later it is as wide as whoever looks wants it
    }
  }

  plan(position) {
    const wanted = position === null ? [] : [["entry", position.entry_avg ?? position.planned_entry, "soft"],
      ...position.targets.map((target, i) => ["target " + (i + 1), target, "good"])];
    const text = JSON.stringify(wanted);
    if (text === this.drawn) return;
    this.drawn = text;
    this.lines.forEach((line) => this.price.removePriceLine(line));
    const c = colours();
    this.lines = wanted.map(([title, price, colour]) => this.price.createPriceLine(
      { price: Number(price), color: c[colour], lineWidth: 1, lineStyle: PLANNED, axisLabelVisible: true, title }));
    const values = wanted.map((line) => Number(line[1]));
    this.price.applyOptions({ autoscaleInfoProvider: (own) => {
      const found = own();
      if (found === null || found.priceRange === null || !values.length) return found;
      found.priceRange.minValue = Math.min(found.priceRange.minValue, ...values);
      found.priceRange.maxValue = Math.max(found.priceRange.maxValue, ...values);
      return found;
    } });
  }

  // What was bought is below the line, what was sold above it.
  fills(fills, trades) {
    const done = trades.filter((t) => t.entered && t.exit_avg).flatMap((t) => {
      const [first, second] = t.side === "long" ? ["BUY", "SELL"] : ["SELL", "BUY"];
      return [[seconds(t.entered), "", first], [seconds(t.closed), t.reason, second]];
    });
    const all = [...done, ...fills].sort((a, b) => a[0] - b[0]);
    const text = JSON.stringify(all);
    if (text === this.marked) return;
    this.marked = text;
    const c = colours();
    this.markers.setMarkers(all.map(([time, what, side]) => (side === "BUY"
      ? { time, position: "belowBar", shape: "arrowUp", color: c.good, text: what }
      : { time, position: "aboveBar", shape: "arrowDown", color: c.warn, text: what })));
  }

  paint() {
    const c = colours();
    this.chart.applyOptions(look(c));
    this.price.applyOptions({ color: c.accent });
    this.stop.applyOptions({ color: c.bad });
    this.drawn = this.marked = "";
  }
}

class EquityChart {
  constructor(place) {
    this.chart = LightweightCharts.createChart(place, look(colours()));
    this.line = this.chart.addSeries(LightweightCharts.LineSeries, { color: colours().accent, lineWidth: 2, lineType: STEPS });
  }

  show(points) {
    this.line.setData(points.map(([time, value]) => ({ time, value: Number(value) })));
    this.chart.timeScale().fitContent();
  }

  paint() {
    this.chart.applyOptions(look(colours()));
    this.line.applyOptions({ color: colours().accent });
  }
}

function seconds(instant) {
  return Math.floor(Date.parse(instant) / 1000);
}
