// The chart of an instrument: bars, bid and ask as lines, executions as arrows. It asks for news every few seconds.
"use strict";

const SECONDS_BETWEEN = 3;
const BARS_BEYOND = 12; // empty, so that the latest arrows' texts are not below the scale
const LETTER_WIDTH = 7; // pixels, of the arrows' texts
const NEW_BARS = 3; // the one in progress, and those that may have closed meanwhile

function isDark() {
  return document.documentElement.classList.contains("dark");
}

function colours() {
  return {
    layout: {
      background: { color: "transparent" },
      textColor: isDark() ? "#d1d5db" : "#374151",
      attributionLogo: true,
    },
    grid: {
      vertLines: { color: isDark() ? "#1f2937" : "#e5e7eb" },
      horzLines: { color: isDark() ? "#1f2937" : "#e5e7eb" },
    },
  };
}

// Legible on the page: what bids and buys, what asks and sells.
function colourOf(side) {
  const isBlue = side === "bid" || side === "buy";
  return isDark() ? (isBlue ? "#60a5fa" : "#f87171") : isBlue ? "#2563eb" : "#dc2626";
}

class Chart {
  constructor(element) {
    this.element = element;
    this.state = document.getElementById("chart-state");
    this.chart = LightweightCharts.createChart(element, {
      ...colours(),
      autoSize: true,
      timeScale: { timeVisible: element.dataset.resolution === "1", rightOffset: BARS_BEYOND },
    });
    this.precision = Number(element.dataset.decimals);
    // The latest price is one of those that the lines show.
    this.series = this.chart.addSeries(LightweightCharts.CandlestickSeries, {
      lastValueVisible: false,
      priceLineVisible: false,
      priceFormat: { type: "price", precision: this.precision, minMove: 10 ** -this.precision },
    });
    this.markers = LightweightCharts.createSeriesMarkers(this.series, []);
    this.marked = [];
    this.last = 0;
    this.lines = {};
    this.names = {};
    for (const name of document.querySelectorAll("[data-side]")) {
      this.names[name.dataset.side] = name;
    }
    const observer = new MutationObserver(() => this.recolour());
    observer.observe(document.documentElement, { attributeFilter: ["class"] });
    element.addEventListener("keydown", (event) => this.move(event));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.mark());
  }

  recolour() {
    this.chart.applyOptions(colours());
    for (const [side, line] of Object.entries(this.lines)) {
      line.applyOptions({ color: colourOf(side) });
      this.names[side].style.color = colourOf(side);
    }
    this.mark();
  }

  move(event) {
    // Left and right scroll, plus and minus widen and narrow the bars.
    const scale = this.chart.timeScale();
    const steps = { ArrowLeft: -10, ArrowRight: 10 };
    const zooms = { "+": 1.25, "-": 0.8 };
    if (event.key in steps) {
      scale.scrollToPosition(scale.scrollPosition() + steps[event.key], false);
    } else if (event.key in zooms) {
      scale.applyOptions({ barSpacing: scale.options().barSpacing * zooms[event.key] });
    } else {
      return;
    }
    event.preventDefault();
  }

  async ask(count) {
    const query = new URLSearchParams({ resolution: this.element.dataset.resolution, after: this.last });
    if (count) {
      query.set("count", count);
    }
    const answer = await fetch(`${this.element.dataset.url}?${query}`);
    if (!answer.ok) {
      throw new Error(answer.status);
    }
    return answer.json();
  }

  async begin() {
    try {
      const found = await this.ask();
      this.series.setData(found.bars);
      this.show(found);
      this.say(found.bars.length ? "" : this.element.dataset.empty);
      setTimeout(() => this.renew(), SECONDS_BETWEEN * 1000);
    } catch {
      this.say(this.element.dataset.away);
      setTimeout(() => this.begin(), SECONDS_BETWEEN * 1000);
    }
  }

  async renew() {
    if (!document.hidden) {
      try {
        const found = await this.ask(NEW_BARS);
        const newest = this.series.data().at(-1)?.time ?? 0;
        found.bars.filter((bar) => bar.time >= newest).forEach((bar) => this.series.update(bar));
        this.show(found);
        this.say("");
      } catch {
        this.say(this.element.dataset.away);
      }
    }
    setTimeout(() => this.renew(), SECONDS_BETWEEN * 1000);
  }

  show(found) {
    for (const side of ["bid", "ask"]) {
      if (found.quote) {
        this.line(side, found.quote[side]);
      }
    }
    if (found.executions.length) {
      this.last = found.executions.at(-1).id;
      this.marked.push(...found.executions);
      this.mark();
    }
  }

  // Its name stands above the chart: within, it would lie on the arrows' texts.
  line(side, price) {
    this.lines[side] ??= this.series.createPriceLine({
      price,
      color: colourOf(side),
      lineWidth: 1,
      lineStyle: LightweightCharts.LineStyle.Dashed,
    });
    this.lines[side].applyOptions({ price });
    const name = this.names[side];
    name.textContent = `${name.dataset.name} ${price.toFixed(this.precision)}`;
    name.style.color = colourOf(side);
  }

  // A bar has one arrow for all that was bought in it, and one for all that was sold: an order filled in many parts
  // would hide the bars with its arrows.
  summed() {
    const groups = Object.values(Object.groupBy(this.marked, ({ time, side }) => `${time} ${side}`));
    return groups.map((fills) => {
      if (fills.length === 1) {
        return fills[0];
      }
      const qty = fills.reduce((sum, fill) => sum + fill.qty, 0);
      const cost = fills.reduce((sum, fill) => sum + fill.qty * fill.price, 0);
      const price = (cost / qty).toFixed(this.precision);
      const shown = qty.toLocaleString(document.documentElement.lang, { maximumFractionDigits: 8 });
      return { ...fills[0], text: `${shown} @ ${price} (${fills.length})` };
    });
  }

  // Of arrows whose texts would lie on each other the later ones keep them; wider bars have room for more.
  spaced() {
    const left = { buy: Infinity, sell: Infinity };
    const placeOf = (time) => this.chart.timeScale().timeToCoordinate(time) ?? 0;
    return this.summed()
      .sort((one, other) => other.time - one.time)
      .map((fill) => {
        const half = (fill.text.length * LETTER_WIDTH) / 2;
        const place = placeOf(fill.time);
        if (place + half > left[fill.side]) {
          return { ...fill, text: "" };
        }
        left[fill.side] = place - half;
        return fill;
      })
      .reverse();
  }

  mark() {
    const markers = this.spaced().map(({ time, side, text }) =>
      side === "buy"
        ? { time, text, color: colourOf(side), position: "belowBar", shape: "arrowUp" }
        : { time, text, color: colourOf(side), position: "aboveBar", shape: "arrowDown" },
    );
    this.markers.setMarkers(markers);
  }

  say(text) {
    this.state.textContent = text;
    this.state.hidden = !text;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const element = document.getElementById("chart");
  if (element) {
    new Chart(element).begin();
  }
});
