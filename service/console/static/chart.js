// Charts, drawn by uPlot on a canvas. What they show is also in words, for those who can't see it.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";

const FONT = "11px system-ui, sans-serif";
const GAP = 6;

/** The library, which is loaded with the first chart: the score does not wait for it. */
const library = async () => (await import("./vendor/uplot.js")).default;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * A chart of lines over a common axis.
 *
 * @param data  The values of the axis, and for each series its values; null is a gap.
 * @param series  For each its label and role: "line", "second", "limit" (dashed), "place" (a dot) or "bars".
 * @param label  What the chart shows, in words.
 * @param range  Ends of the vertical axis; by default those of the data.
 */
export function Chart({ data, series, label, height = 200, formatX, formatY, range, isTime = false }) {
  const place = useRef(null);
  const held = useRef({});
  held.current.data = data;
  const shape = JSON.stringify([series, height, range, isTime]);

  useEffect(() => {
    let isOver = false;
    let chart;
    const draw = (UPlot) => {
      if (isOver || !place.current) return;
      chart?.destroy();
      chart = new UPlot(options(UPlot, { series, width: place.current.clientWidth, height, formatX, formatY, range, isTime }), held.current.data, place.current);
      held.current.chart = chart;
    };
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => library().then(draw);
    const size = new ResizeObserver(([{ contentRect }]) => chart && contentRect.width > 0 && chart.setSize({ width: contentRect.width, height }));
    redraw();
    size.observe(place.current);
    scheme.addEventListener("change", redraw);
    return () => {
      isOver = true;
      size.disconnect();
      scheme.removeEventListener("change", redraw);
      chart?.destroy();
      held.current.chart = null;
    };
  }, [shape, formatX, formatY]);
  useEffect(() => void held.current.chart?.setData(data), [data]);

  return html`<div class="chart" role="img" aria-label=${label} ref=${place} style=${{ minHeight: `${height}px` }}></div>`;
}

function options(UPlot, { series, width, height, formatX, formatY, range, isTime }) {
  const muted = colour("muted");
  const axis = { stroke: muted, font: FONT, gap: GAP, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  return {
    width: Math.max(width, 100),
    height,
    padding: [10, 20, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    select: { show: false },
    scales: { x: { time: isTime }, y: range ? { range: () => range } : { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, size: 26, space: isTime ? 80 : 50, grid: { show: false }, ...(formatX && { values: (_, ticks) => ticks.map(formatX) }) },
      { ...axis, size: 52, ...(formatY && { values: (_, ticks) => ticks.map(formatY) }) },
    ],
    series: [{}, ...series.map((each) => styleOf(UPlot, each))],
  };
}

/** Whether a series has one value only, which no line would show. */
const isSingle = (chart, place) => chart.data[place].filter((value) => value !== null).length === 1;

function styleOf(UPlot, { role, label }) {
  const accent = colour("accent");
  const second = colour("raises");
  if (role === "limit") return { label, stroke: colour("muted"), width: 1, dash: [5, 4], points: { show: false } };
  if (role === "place") return { label, stroke: "transparent", paths: () => null, points: { show: true, size: 11, width: 2, fill: accent, stroke: colour("surface") } };
  if (role === "bars") return { label, stroke: accent, fill: colour("tint"), width: 1, paths: UPlot.paths.bars({ size: [1, 100], align: 1, gap: 1 }), points: { show: false } };
  const stroke = role === "second" ? second : accent;
  return { label, stroke, width: 2, points: { show: isSingle, size: 6, fill: stroke }, spanGaps: true };
}
